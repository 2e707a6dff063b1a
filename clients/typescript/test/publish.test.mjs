import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import {
  AnswerError, ConnectionError, EventError, LimitError, OutcomeUnknownError, PartlyPublishedError, Planwire, ProblemError, limits,
} from "planwire";
import { cut, problem, scripted, stored, world } from "./kit.mjs";

const note = (number, text) => ({ event_type: "acme.note", plan_id: "p", payload: { number, text } });
const ids = request => request.body.events.map(event => event.event_id);
const numbers = request => request.body.events.map(event => event.payload.number);

function client(server, options = {}) {
  const { waits, runtime } = world(options);
  return { waits, planwire: new Planwire(server.url, { runtime, ...options }) };
}

test("event is sent with an id and a time, and its place is given", async t => {
  const server = await scripted(t, exchange => stored(exchange, 41));
  const { planwire } = client(server);
  const published = await planwire.publish({ event_type: "PlanStarted", plan_id: "p", payload: { name: "n", extra: 1 } });
  const [sent] = server.requests[0].body.events;
  assert.equal(published.position, 42);
  assert.equal(published.event_id, sent.event_id);
  assert.deepEqual(sent.payload, { name: "n", extra: 1 });
  assert.equal(sent.timestamp, "2023-11-14T22:13:20.000Z");
  assert.equal(server.requests[0].headers["content-type"], "application/json");
});

test("ids and times of the caller are kept", async t => {
  const server = await scripted(t, stored);
  const event = { ...note(1), event_id: "01JD8C3V5K7QW9X2Y4Z6A8B0CE", timestamp: "2026-01-01T00:00:00Z", traceparent: "t" };
  await client(server).planwire.publish(event);
  assert.deepEqual(server.requests[0].body.events, [JSON.parse(JSON.stringify(event))]);
});

for (const [name, failure] of [
  ["a connection that breaks", cut],
  ["an answer that breaks off", ({ response }) => { response.writeHead(200, { "content-length": "900" }); response.write("{"); setImmediate(() => response.destroy()); }],
  ["an unknown outcome", exchange => problem(exchange, 503, "outcome-unknown", { event_ids: [], retry_safe: true })],
  ["a full disk", exchange => problem(exchange, 503, "store-full")],
  ["a shutdown", exchange => problem(exchange, 503, "shutting-down")],
  ["a gateway without a server", ({ response }) => response.writeHead(502).end("<html>")],
]) {
  test(`${name} is followed by the same request under the same ids`, async t => {
    const server = await scripted(t, failure, failure, exchange => stored(exchange, 0, true));
    const { planwire, waits } = client(server);
    const published = await planwire.publishAll([note(1), note(2)]);
    assert.deepEqual(published.map(place => place.duplicate), [true, true]);
    assert.equal(server.requests.length, 3);
    for (const request of server.requests) assert.deepEqual(request.body, server.requests[0].body);
    assert.deepEqual(waits, [100, 200]);
  });
}

test("waits double, are spread by chance, and end at a limit", async t => {
  const server = await scripted(t, exchange => problem(exchange, 503, "store-busy"));
  for (const [random, expected] of [[() => 0, [100, 200, 400, 800, 1600, 2500, 2500]], [() => 0.5, [150, 300, 600, 1200, 2400, 3750, 3750]]]) {
    const { planwire, waits } = client(server, { random, retry: { giveUpAfterMs: expected.reduce((a, b) => a + b) } });
    await assert.rejects(planwire.publish(note(1)), error => error instanceof ProblemError && error.kind === "store-busy");
    assert.deepEqual(waits, expected);
  }
});

test("server says how long to wait", async t => {
  const busy = exchange => problem(exchange, 503, "store-busy", {}, { "retry-after": "2" });
  const forever = exchange => problem(exchange, 503, "store-busy", {}, { "retry-after": "86400" });
  const server = await scripted(t, busy, forever, stored);
  const { planwire, waits } = client(server, { hold: 100_000, requestMs: 100_000, retry: { giveUpAfterMs: 100_000 } });
  await planwire.publish(note(1));
  assert.deepEqual(waits, [2_000, limits.ASKED_WAIT_MAX_MS]);
});

test("request without an answer is given up and sent again", async t => {
  let late;
  const server = await scripted(t, () => late(), stored);
  // Only the watchdog of the first request ends.
  const { runtime, waits } = world({ hold: 30_000 });
  let first = true;
  const sleep = (ms, signal) => {
    if (ms !== 30_000 || !first) return runtime.sleep(ms, signal);
    first = false;
    return new Promise(resolve => { late = resolve; });
  };
  await new Planwire(server.url, { runtime: { ...runtime, sleep } }).publish(note(1));
  assert.deepEqual(ids(server.requests[0]), ids(server.requests[1]));
  assert.deepEqual(waits, [100]);
});

test("server that never answers leaves the outcome unknown, with what is to be sent again", async t => {
  const server = await scripted(t, cut);
  const { planwire } = client(server, { retry: { giveUpAfterMs: 1_000 } });
  const error = await planwire.publish(note(1)).catch(error => error);
  assert.ok(error instanceof OutcomeUnknownError && error.cause instanceof ConnectionError, String(error));
  assert.deepEqual(error.events, server.requests[0].body.events);
});

test("server that is not there leaves nothing unknown", async () => {
  const closed = createServer();
  await new Promise(resolve => closed.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${closed.address().port}`;
  await new Promise(resolve => closed.close(resolve));
  const planwire = new Planwire(url, { runtime: world().runtime, retry: { giveUpAfterMs: 0 } });
  await assert.rejects(planwire.publish(note(1)), ConnectionError);
});

test("unknown outcome in the middle of a list comes with all that is left of it", async t => {
  const server = await scripted(t, stored, cut);
  const { planwire } = client(server, { retry: { giveUpAfterMs: 0 } });
  const list = Array.from({ length: 2_500 }, (_, at) => note(at));
  const error = await planwire.publishAll(list).catch(error => error);
  assert.ok(error instanceof PartlyPublishedError && error.cause instanceof OutcomeUnknownError, String(error));
  assert.deepEqual(error.cause.events.map(event => event.payload.number), list.slice(1_000).map(event => event.payload.number));
  assert.deepEqual(error.cause.events.slice(0, 1_000), server.requests[1].body.events);
});

test("repetitions are told", async t => {
  const notes = [];
  const server = await scripted(t, cut, exchange => problem(exchange, 503, "store-busy"), stored);
  await client(server, { onRetry: note => notes.push(note) }).planwire.publish(note(1));
  assert.deepEqual(notes.map(({ what, failures, delayMs, error }) => [what, failures, delayMs, error.name]), [
    ["publish", 1, 100, "ConnectionError"],
    ["publish", 2, 200, "ProblemError"],
  ]);
});

for (const [status, slug, members] of [
  [400, "event-invalid", { index: 0 }],
  [409, "event-conflict", { index: 0 }],
  [409, "event-refused", { index: 0, refusal: "plan_ended" }],
  [413, "body-too-large", { max_bytes: 5 }],
  [500, "internal", {}],
]) {
  test(`${slug} is thrown as it is and not sent again`, async t => {
    const server = await scripted(t, exchange => problem(exchange, status, slug, members));
    const error = await client(server).planwire.publish(note(1)).catch(error => error);
    assert.ok(error instanceof ProblemError, String(error));
    assert.deepEqual([error.status, error.kind, error.refusal, error.index], [status, slug, members.refusal, members.index]);
    assert.equal(error.members.max_bytes, members.max_bytes);
    assert.equal(error.message, `said: ${slug}`);
    assert.equal(server.requests.length, 1);
  });
}

test("calls that wait share the next request, in their order", async t => {
  const server = await scripted(t, stored);
  const { planwire } = client(server);
  const first = planwire.publish(note(0));
  await Promise.resolve().then(() => {}).then(() => {});
  const calls = Array.from({ length: 2_500 }, (_, at) => planwire.publish(note(at + 1)));
  await Promise.all([first, ...calls]);
  assert.deepEqual(server.requests.flatMap(numbers), Array.from({ length: 2_501 }, (_, at) => at));
  assert.ok(server.requests.length <= 4, `${server.requests.length} requests`);
  assert.ok(server.requests.every(request => request.body.events.length <= limits.REQUEST_EVENTS_MAX));
});

test("refusal fails only the call that it is about", async t => {
  const refuse = exchange => problem(exchange, 409, "event-refused", { index: 2, refusal: "plan_ended", detail: "event 2 of the request is refused: x" });
  const server = await scripted(t, refuse, stored);
  const { planwire } = client(server);
  const calls = [planwire.publish(note(1)), planwire.publishAll([note(2), note(3)]), planwire.publish(note(4))];
  const [one, two, three] = await Promise.allSettled(calls);
  assert.deepEqual([one.status, two.status, three.status], ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual([two.reason.index, two.reason.message], [1, "event 1 of the request is refused: x"]);
  assert.deepEqual(server.requests.map(numbers), [[1, 2, 3, 4], [1, 4]]);
});

test("refusal that names no event is found by sending the calls one by one", async t => {
  const large = exchange => problem(exchange, 413, "body-too-large");
  const answer = exchange => (exchange.body.events.some(event => event.payload.number === 2) ? large(exchange) : stored(exchange));
  const server = await scripted(t, answer);
  const { planwire } = client(server);
  const settled = await Promise.allSettled([1, 2, 3].map(number => planwire.publish(note(number))));
  assert.deepEqual(settled.map(one => one.status), ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual(server.requests.map(numbers), [[1, 2, 3], [1], [2], [3]]);
});

test("long list is split by number and by bytes", async t => {
  const server = await scripted(t, stored);
  const { planwire } = client(server);
  const published = await planwire.publishAll(Array.from({ length: 2_001 }, (_, at) => note(at)));
  assert.equal(published.length, 2_001);
  assert.deepEqual(server.requests.map(request => request.body.events.length), [1_000, 1_000, 1]);
  const text = "é".repeat(100_000);
  await planwire.publishAll(Array.from({ length: 12 }, (_, at) => note(at, text)));
  const later = server.requests.slice(3);
  assert.deepEqual(later.map(request => request.body.events.length), [5, 5, 2]);
  assert.ok(later.every(request => Number(request.headers["content-length"]) <= limits.REQUEST_BYTES_MAX));
});

test("list that ends in the middle says what is stored", async t => {
  const server = await scripted(t, stored, exchange => problem(exchange, 409, "event-refused", { index: 3 }));
  const { planwire } = client(server);
  const error = await planwire.publishAll(Array.from({ length: 3_000 }, (_, at) => note(at))).catch(error => error);
  assert.ok(error instanceof PartlyPublishedError, String(error));
  assert.equal(error.published.length, 1_000);
  assert.equal(error.cause.index, 1_003);
  await planwire.flush();
  assert.equal(server.requests.length, 2);
});

test("what is too large or no JSON is not sent", async t => {
  const server = await scripted(t, stored);
  const { planwire } = client(server);
  await assert.rejects(planwire.publish(note(1, "x".repeat(limits.REQUEST_BYTES_MAX))), LimitError);
  await assert.rejects(planwire.publishAll(new Array(limits.PENDING_EVENTS_MAX + 1).fill(note(1))), LimitError);
  await assert.rejects(planwire.publish(note(1n)), EventError);
  assert.deepEqual(await planwire.publishAll([]), []);
  assert.equal(server.requests.length, 0);
});

test("queue has a limit, and room again when it is sent", async t => {
  const server = await scripted(t, stored);
  const { planwire } = client(server);
  const full = planwire.publishAll(new Array(limits.PENDING_EVENTS_MAX).fill(note(1)));
  await assert.rejects(planwire.publish(note(2)), LimitError);
  assert.equal((await full).length, limits.PENDING_EVENTS_MAX);
  await planwire.publish(note(2));
  const controller = new AbortController();
  const withdrawn = planwire.publishAll(new Array(limits.PENDING_EVENTS_MAX).fill(note(3)), { signal: controller.signal });
  controller.abort("enough");
  await assert.rejects(withdrawn, reason => reason === "enough");
  await planwire.publish(note(4));
});

test("answer of something else than Planwire is said as such", async t => {
  for (const text of ["<html>", "{}", "null", '{"events":[]}']) {
    const server = await scripted(t, ({ response }) => response.end(text));
    const error = await client(server).planwire.publish(note(1)).catch(error => error);
    assert.ok(error instanceof OutcomeUnknownError && error.cause instanceof AnswerError, String(error));
  }
});

test("aborted before it is sent: nothing is sent, and the reason is thrown", async t => {
  const server = await scripted(t, stored);
  const { planwire } = client(server);
  await assert.rejects(planwire.publish(note(1), { signal: AbortSignal.abort("early") }), reason => reason === "early");
  const controller = new AbortController();
  const aborted = planwire.publish(note(2), { signal: controller.signal });
  controller.abort("queued");
  await assert.rejects(aborted, reason => reason === "queued");
  await planwire.publish(note(3));
  assert.deepEqual(server.requests.map(numbers), [[3]]);
});

test("aborted on its way: the outcome is unknown, and others go on", async t => {
  const controller = new AbortController();
  const server = await scripted(t, exchange => { controller.abort("late"); cut(exchange); }, stored);
  const { planwire } = client(server);
  const calls = [planwire.publish(note(1), { signal: controller.signal }), planwire.publish(note(2))];
  const [one, two] = await Promise.allSettled(calls);
  assert.ok(one.reason instanceof OutcomeUnknownError && one.reason.cause === "late", String(one.reason));
  assert.equal(one.reason.events[0].payload.number, 1);
  assert.equal(two.status, "fulfilled");
  assert.deepEqual(server.requests.map(numbers), [[1, 2], [2]]);
});

test("aborted while it waits for a repetition: the wait ends", async t => {
  const controller = new AbortController();
  const server = await scripted(t, exchange => problem(exchange, 503, "store-busy", {}, { "retry-after": "30" }));
  const { planwire } = client(server, { onRetry: () => setImmediate(() => controller.abort("enough")) });
  const error = await planwire.publish(note(1), { signal: controller.signal }).catch(error => error);
  assert.ok(error instanceof OutcomeUnknownError || error === "enough", String(error));
  await planwire.flush();
  assert.equal(server.requests.length, 1);
});
