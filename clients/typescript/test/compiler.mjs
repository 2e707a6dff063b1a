// Compiles and runs TypeScript that uses the package under its name.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const TSC = join(PACKAGE, "node_modules/typescript/bin/tsc");
const CONFIG = { extends: "../tsconfig.json", compilerOptions: { rootDir: ".", outDir: ".", declaration: false }, include: ["*.ts"], exclude: [] };
export const noCompiler = existsSync(TSC) ? false : "there is no TypeScript compiler; run npm install";

/** Runs node to its end and gives what it printed, without holding up this process. */
export async function node(...args) {
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const texts = ["", ""];
  child.stdout.on("data", text => (texts[0] += text));
  child.stderr.on("data", text => (texts[1] += text));
  const code = await new Promise(resolve => child.once("close", resolve));
  assert.equal(code, 0, texts.join(""));
  return texts[0];
}

/** A folder of the package, so that what is compiled in it finds the package under its name. */
export function folder(t) {
  const path = mkdtempSync(join(PACKAGE, "examples-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  writeFileSync(join(path, "tsconfig.json"), JSON.stringify(CONFIG));
  return path;
}

/** Compiles all TypeScript in a folder, as strictly as the package itself. */
export const compile = folder => node(TSC, "-p", folder);
