// Nothing is lost and nothing doubled while the server is killed with -9 ten times, in Node and in Chromium.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";

import { Planwire } from "planwire";
import { publishAndFollow } from "./kills.scenario.mjs";
import { serve, skip } from "./served.mjs";

const KILLS = 10;
const PLAN = "kills";
/** Events that are acknowledged, and that are followed, between two kills. */
const EVENTS = 60;
const { PLANWIRE_CHROMIUM: chromium, PLANWIRE_NODE_MODULES: modules } = process.env;

/** Kills the server whenever the client has got on far enough; says whether there is more to do. */
function killer(served) {
  let [kills, ackAt, seenAt, dead] = [0, EVENTS, EVENTS, false];
  const again = async (acknowledged, seen) => {
    dead = true;
    await served.kill();
    await served.start();
    [kills, ackAt, seenAt, dead] = [kills + 1, acknowledged + EVENTS, seen + EVENTS, false];
  };
  let last = Promise.resolve();
  const told = (acknowledged, seen) => {
    if (!dead && kills < KILLS && acknowledged >= ackAt && seen >= seenAt) last = again(acknowledged, seen);
    return kills < KILLS || dead;
  };
  return { told, done: () => last, kills: () => kills };
}

async function check(where, served, kills, { published, acknowledged, seen, repeated, duplicates }) {
  const stored = [];
  for await (const event of new Planwire(served.url).events({ planId: PLAN, limit: 1_000 })) stored.push(event);
  const ids = new Set(stored.map(event => event.event_id));
  const lost = acknowledged.filter(id => !ids.has(id)).length;
  const numbers = stored.flatMap(event => event.payload.number ?? []);
  const doubled = numbers.length - new Set(numbers).size;
  const missing = stored.filter((event, at) => seen[at]?.id !== event.event_id).length;
  console.log(
    `${where}: ${kills} kills: published ${published}, acknowledged ${acknowledged.length} (${repeated} repetitions, ${duplicates} stored before), stored ${numbers.length}, lost ${lost}, ` +
      `doubled ${doubled}; followed ${seen.length} of ${stored.length}, missing ${missing}, doubled ${seen.length - new Set(seen.map(({ id }) => id)).size}`,
  );
  assert.equal(kills, KILLS);
  assert.equal(acknowledged.length, published);
  assert.deepEqual([lost, doubled, missing, numbers.length], [0, 0, 0, published]);
  assert.deepEqual(seen.map(({ id, seq }) => [id, seq]), stored.map(({ event_id, seq }) => [event_id, seq]));
}

test("in Node: nothing is lost or doubled while the server is killed ten times", { skip }, async t => {
  const served = await serve(t);
  const killing = killer(served);
  const result = await publishAndFollow(Planwire, served.url, PLAN, (acknowledged, seen) => killing.told(acknowledged, seen));
  await killing.done();
  await check("Node", served, killing.kills(), result);
});

const noBrowser = skip || (chromium && modules ? false : "there is no browser with its driver (PLANWIRE_CHROMIUM, PLANWIRE_NODE_MODULES)");

test("in Chromium: nothing is lost or doubled while the server is killed ten times", { skip: noBrowser }, async t => {
  const served = await serve(t);
  const killing = killer(served);
  // Root in a container has no sandbox of its own; the page is ours.
  const browser = await createRequire(import.meta.url)(`${modules}/playwright-core`).chromium.launch({ executablePath: chromium, args: ["--no-sandbox"] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  // A document of the server itself, so that the page has its origin; the client's files are put beside it.
  await page.goto(`${served.url}/healthz`);
  const files = new Map([["/client/", new URL("../dist/", import.meta.url)], ["/test/", new URL("./", import.meta.url)]]);
  for (const [path, folder] of files) {
    await page.route(`**${path}*`, async route => {
      const name = new URL(route.request().url()).pathname.slice(path.length);
      await route.fulfill({ contentType: "text/javascript", body: await readFile(new URL(name, folder)) });
    });
  }
  await page.exposeFunction("told", (acknowledged, seen) => killing.told(acknowledged, seen));
  const result = await page.evaluate(async plan => {
    const { Planwire } = await import("/client/index.js");
    const { publishAndFollow } = await import("/test/kills.scenario.mjs");
    return publishAndFollow(Planwire, location.origin, plan, globalThis.told);
  }, PLAN);
  await killing.done();
  await check("Chromium", served, killing.kills(), result);
});
