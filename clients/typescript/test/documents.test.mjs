// What the README shows is compiled and run, and what the types promise is compiled.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { serve, skip } from "./served.mjs";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(PACKAGE, "node_modules/typescript/bin/tsc");
const CONFIG = { extends: "../tsconfig.json", compilerOptions: { rootDir: ".", outDir: ".", declaration: false }, include: ["*.ts"], exclude: [] };
const noCompiler = existsSync(TSC) ? false : "there is no TypeScript compiler; run npm install";

/** Runs node to its end, without holding up the server's output. */
async function node(...args) {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const texts = ["", ""];
  child.stdout.on("data", text => (texts[0] += text));
  child.stderr.on("data", text => (texts[1] += text));
  const code = await new Promise(resolve => child.once("close", resolve));
  assert.equal(code, 0, texts.join(""));
  return texts[0];
}

/** A folder of the package, so that what is compiled in it finds the package under its name. */
function folder(t) {
  const path = mkdtempSync(join(PACKAGE, "examples-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  writeFileSync(join(path, "tsconfig.json"), JSON.stringify(CONFIG));
  return path;
}

test("types promise what they say", { skip: noCompiler }, async t => {
  const place = folder(t);
  writeFileSync(join(place, "types.ts"), readFileSync(new URL("types.ts", import.meta.url)));
  await node(TSC, "-p", place);
});

test("examples of the README print what it says", { skip: skip || noCompiler }, async t => {
  const { url } = await serve(t);
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  const examples = [...readme.matchAll(/```ts\n(.*?)```\n+```text\n(.*?)```/gs)];
  assert.equal(examples.length, readme.split("```ts\n").length - 1, "each example says what it prints");
  const place = folder(t);
  for (const [at, [, code]] of examples.entries()) {
    assert.ok(code.trim().split("\n").filter(line => line !== "").length <= 10, `example ${at} has ten lines`);
    writeFileSync(join(place, `example${at}.ts`), code.replaceAll("http://127.0.0.1:7420", url));
  }
  await node(TSC, "-p", place);
  for (const [at, [, , printed]] of examples.entries()) {
    assert.equal(await node(join(place, `example${at}.js`)), printed, `example ${at}`);
  }
});
