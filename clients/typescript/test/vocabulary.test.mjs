// The payload types say what the program's own JSON Schema says: the same fields, required or not, of the same types.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { compile, folder, noCompiler } from "./compiler.mjs";
import { BIN, skip } from "./served.mjs";

/** Not payloads, or parts of payloads that are no objects. */
const OTHERS = ["PublishedEvent", "StoredEvent", "ArtifactPart"];

/** A schema as a TypeScript type. */
function typeOf(schema, defs) {
  if (schema === true || Object.keys(schema).every(key => key === "description" || key === "default")) return "unknown";
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split("/").at(-1);
    return defs[name].oneOf?.every(one => one.const !== undefined) ? typeOf(defs[name], defs) : `P.${name}`;
  }
  if (schema.oneOf !== undefined) return schema.oneOf.map(one => JSON.stringify(one.const)).join(" | ");
  if (schema.anyOf !== undefined) return schema.anyOf.filter(one => one.type !== "null").map(one => typeOf(one, defs)).join(" | ");
  const [type] = [schema.type].flat().filter(type => type !== "null");
  if (type === "array") return `(${typeOf(schema.items, defs)})[]`;
  return { string: "string", integer: "number", number: "number", boolean: "boolean", object: "P.Open" }[type];
}

function interfaceOf(name, schema, defs) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([field, of]) => `${field}${required.has(field) ? "" : "?"}: ${typeOf(of, defs)};`);
  return `interface ${name} extends P.Open { ${fields.join(" ")} }\nexport const is${name}: Same<Flat<${name}>, Flat<P.${name}>> = true;\n`;
}

test("payload types are those of the program's schema", { skip: skip || noCompiler }, async t => {
  const { $defs: defs } = JSON.parse(execFileSync(BIN, ["schema"]).toString());
  const names = Object.keys(defs).filter(name => defs[name].properties !== undefined && !OTHERS.includes(name));
  assert.ok(names.length >= 17, names.join());
  const head = `import type * as P from "planwire";
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Flat<T> = { [K in keyof T]: T[K] };
`;
  const place = folder(t);
  writeFileSync(join(place, "vocabulary.ts"), head + names.map(name => interfaceOf(name, defs[name], defs)).join(""));
  await compile(place);
});
