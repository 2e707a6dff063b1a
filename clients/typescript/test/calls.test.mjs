import assert from "node:assert/strict";
import { test } from "node:test";

import { AnswerError, ConnectionError, OutcomeUnknownError, Planwire, ProblemError, limits } from "planwire";
import { cursor, cut, problem, scripted, world } from "./kit.mjs";

function client(server, options = {}) {
  const { waits, runtime } = world(options);
  return { waits, planwire: new Planwire(server.url, { runtime, ...options }) };
}

const json = value => ({ response }) => response.setHeader("content-type", "application/json").end(JSON.stringify(value));

test("reads are tried again until there is an answer", async t => {
  const server = await scripted(t, cut, exchange => problem(exchange, 503, "store-busy"), ({ response }) => response.writeHead(504).end(), json({ plan_id: "p" }));
  const { planwire, waits } = client(server);
  assert.deepEqual(await planwire.plan("p"), { plan_id: "p" });
  assert.deepEqual(waits, [100, 200, 400]);
});

test("reads give up with the last failure", async t => {
  const server = await scripted(t, cut);
  await assert.rejects(client(server, { retry: { giveUpAfterMs: 500 } }).planwire.plan("p"), ConnectionError);
  assert.equal(server.requests.length, 3);
});

test("start is repeated under one id and done once", async t => {
  const failures = [
    exchange => problem(exchange, 503, "too-many-plans"),
    exchange => problem(exchange, 503, "plan-starting"),
    cut,
    exchange => problem(exchange, 503, "outcome-unknown"),
    ({ response }) => response.writeHead(502).end(),
  ];
  const request = { document: "d", inputs: { a: 1 }, context_id: "c" };
  const server = await scripted(t, ...failures, json({ plan_id: "p", cursor: cursor(1) }));
  assert.deepEqual(await client(server).planwire.start(request), { plan_id: "p", cursor: cursor(1) });
  const { plan_id } = server.requests[0].body;
  assert.match(plan_id, /^[0-9A-Z]{26}$/);
  assert.equal(server.requests.length, 6);
  for (const { body } of server.requests) assert.deepEqual(body, { ...request, plan_id });
});

test("start that was carried out before its answer was lost is a success", async t => {
  const server = await scripted(t, cut, exchange => problem(exchange, 409, "plan-exists", { plan_id: exchange.body.plan_id, cursor: cursor(1) }));
  const started = await client(server).planwire.start({ document: "d" });
  assert.deepEqual(started, { plan_id: server.requests[0].body.plan_id, cursor: cursor(1) });
});

test("start under an id of one's own says that it is taken", async t => {
  const server = await scripted(t, exchange => problem(exchange, 409, "plan-exists", { plan_id: "mine", cursor: cursor(1) }));
  const taken = error => error instanceof ProblemError && error.kind === "plan-exists" && error.members.cursor === cursor(1);
  await assert.rejects(client(server).planwire.start({ document: "d", plan_id: "mine" }), taken);
});

test("start that is given up may have been carried out", async t => {
  const server = await scripted(t, cut);
  await assert.rejects(client(server, { retry: { giveUpAfterMs: 500 } }).planwire.start({ document: "d" }), OutcomeUnknownError);
});

test("answer is repeated under one event id", async t => {
  const server = await scripted(t, cut, exchange => problem(exchange, 503, "outcome-unknown"), json({ request_id: "q" }));
  await client(server).planwire.answer("a plan/..", { value: null, request_id: "q" });
  assert.equal(server.requests[0].url, "/v1/plans/a%20plan%2F../answer");
  assert.match(server.requests[0].body.event_id, /^[0-9A-Z]{26}$/);
  assert.equal(server.requests[0].body.value, null);
  for (const request of server.requests) assert.deepEqual(request.body, server.requests[0].body);
});

test("cancel is repeated, with its reason", async t => {
  const server = await scripted(t, cut, json({ plan_id: "p" }), json({ plan_id: "p" }));
  const { planwire } = client(server);
  await planwire.cancel("p", "wrong folder");
  await planwire.cancel("p");
  assert.deepEqual(server.requests.map(({ body }) => body), [{ reason: "wrong folder" }, { reason: "wrong folder" }, {}]);
});

test("token and a path before ours are sent along", async t => {
  const server = await scripted(t, json({}));
  await new Planwire(`${server.url}/behind/proxy`, { token: "s3cret" }).plan("p");
  assert.equal(server.requests[0].url, "/behind/proxy/v1/plans/p");
  assert.equal(server.requests[0].headers.authorization, "Bearer s3cret");
  assert.throws(() => new Planwire("no address"), TypeError);
});

test("pages are asked for one after the other, empty ones too", async t => {
  const row = name => ({ plan_id: name });
  const server = await scripted(t, json({ plans: [row("a")], next: cursor(3) }), json({ plans: [], next: cursor(2) }), json({ plans: [row("b")], next: null }));
  const names = [];
  for await (const plan of client(server).planwire.plans({ state: "open", roots: false, limit: 1 })) names.push(plan.plan_id);
  assert.deepEqual(names, ["a", "b"]);
  assert.deepEqual(server.requests.map(({ url }) => url), [
    "/v1/plans?state=open&roots=false&limit=1",
    `/v1/plans?state=open&roots=false&after=${cursor(3)}&limit=1`,
    `/v1/plans?state=open&roots=false&after=${cursor(2)}&limit=1`,
  ]);
});

test("answers that are none of Planwire are said as such, and problems keep what they tell", async t => {
  const html = ({ response }) => response.end("<html>");
  await assert.rejects(client(await scripted(t, html)).planwire.plan("p"), AnswerError);
  const odd = ({ response }) => response.writeHead(404, { "content-type": "application/problem+json" }).end("{");
  const error = await client(await scripted(t, odd)).planwire.plan("p").catch(error => error);
  assert.ok(error instanceof ProblemError);
  assert.deepEqual([error.status, error.kind, error.message], [404, "", "the server answered with status 404"]);
  const told = exchange => problem(exchange, 400, "answer-invalid", { errors: [{ path: "/a", message: "m" }] });
  const unfit = await client(await scripted(t, told)).planwire.answer("p", { value: 1 }).catch(error => error);
  assert.deepEqual(unfit.members.errors, [{ path: "/a", message: "m" }]);
});

test("answer without an end does not fill the memory", async t => {
  const piece = Buffer.alloc(4 * 1024 * 1024, "x");
  const endless = async ({ response }) => {
    for (let sent = 0; sent <= limits.ANSWER_BYTES_MAX && !response.destroyed; sent += piece.length) {
      await new Promise(resolve => response.write(piece, resolve));
    }
    response.end();
  };
  await assert.rejects(client(await scripted(t, endless)).planwire.plan("p"), AnswerError);
});

test("bytes of an artifact are given as they are", async t => {
  const server = await scripted(t, ({ response }) => response.end(Buffer.from([0, 255, 10])));
  assert.deepEqual(await client(server).planwire.blob("p", "abc"), new Uint8Array([0, 255, 10]));
  assert.equal(server.requests[0].url, "/v1/plans/p/blobs/abc");
});

test("aborted call throws the reason: before, while it waits for the answer, and between two attempts", async t => {
  await assert.rejects(new Planwire("http://127.0.0.1:1").plan("p", { signal: AbortSignal.abort("early") }), reason => reason === "early");
  for (const [handler, when] of [[() => {}, "answer"], [cut, "retry"]]) {
    const controller = new AbortController();
    const abort = () => setImmediate(() => controller.abort("enough"));
    const server = await scripted(t, exchange => { handler(exchange); if (when === "answer") abort(); });
    const { planwire } = client(server, { hold: 100, retry: { firstMs: 1_000 }, onRetry: abort });
    await assert.rejects(planwire.plan("p", { signal: controller.signal }), reason => reason === "enough", when);
  }
});
