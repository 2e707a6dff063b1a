// What the README shows is compiled and run, and what the types promise is compiled.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { PACKAGE, compile, folder, noCompiler, node } from "./compiler.mjs";
import { serve, skip } from "./served.mjs";

test("types promise what they say", { skip: noCompiler }, async t => {
  const place = folder(t);
  writeFileSync(join(place, "types.ts"), readFileSync(new URL("types.ts", import.meta.url)));
  await compile(place);
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
  await compile(place);
  for (const [at, [, , printed]] of examples.entries()) {
    assert.equal(await node(join(place, `example${at}.js`)), printed, `example ${at}`);
  }
});
