import assert from "node:assert/strict";
import { test } from "node:test";

import { AnswerError, GapError, LimitError, Planwire, ProblemError } from "planwire";
import { cursor, cut, end, frame, hello, problem, scripted, short, stream, world } from "./kit.mjs";

function client(server, options = {}) {
  const { waits, runtime } = world(options);
  return { waits, planwire: new Planwire(server.url, { runtime, ...options }) };
}

const resumed = server => server.requests.map(request => request.headers["last-event-id"]);
const events = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => frame(from + at, "é€🚀"));

test("plan is followed to its end", async t => {
  const server = await scripted(t, stream([hello(0), frame(1), frame(2), end(2)]));
  const { planwire } = client(server);
  const items = [];
  for await (const item of planwire.follow({ planId: "p", tree: true, eventTypes: ["acme.note", "PlanStarted"] })) items.push(item);
  assert.deepEqual(items.map(item => item.kind), ["event", "event", "end"]);
  assert.equal(items[0].event.payload.number, 1);
  assert.deepEqual(items.map(item => item.cursor), [cursor(1), cursor(2), cursor(2)]);
  assert.equal(items[2].planId, "p");
  assert.equal(server.requests[0].url, "/v1/events?event_type=acme.note&event_type=PlanStarted&plan_id=p&tree=true&after=start");
  assert.equal(server.requests[0].headers.accept, "text/event-stream");
});

test("cut at any byte: each event comes once, in order", async t => {
  const whole = Buffer.from([hello(0), ...events(1, 3), `: hb\nid: ${cursor(3)}\n\n`, ...events(4, 5)].join(""));
  for (let at = 0; at <= whole.length; at += 3) {
    const { requests, url } = await scripted(
      t,
      stream([whole.subarray(0, at)], at % 2 === 0 ? "cut" : "end"),
      async exchange => {
        const after = requests[1].headers["last-event-id"];
        const from = after === undefined ? 0 : Number.parseInt(after.split("-")[1], 16);
        await stream([hello(from), ...events(from + 1, 6), end(6)])(exchange);
      },
    );
    assert.deepEqual(await short(client({ url }).planwire.follow()), [1, 2, 3, 4, 5, 6, "end"], `cut after ${at} bytes`);
  }
});

test("events that were given already are not given again", async t => {
  const server = await scripted(t, stream([hello(0), ...events(1, 3)]), stream([hello(1), ...events(2, 5), end(5)]));
  assert.deepEqual(await short(client(server).planwire.follow()), [1, 2, 3, 4, 5, "end"]);
});

test("it comes back when the server said, later each time, and with the cursor of the last heartbeat", async t => {
  const busy = exchange => problem(exchange, 503, "too-many-streams");
  const server = await scripted(
    t, stream([hello(0), frame(1), `: hb\nid: ${cursor(900)}\n\n`]), busy, cut, ({ response }) => response.writeHead(502).end(),
    stream([hello(900), frame(901)]), stream([hello(901), end(901)]),
  );
  const { planwire, waits } = client(server);
  assert.deepEqual(await short(planwire.follow()), [1, 901, "end"]);
  assert.deepEqual(waits, [7, 7, 14, 28, 7]);
  assert.deepEqual(resumed(server), [undefined, ...new Array(4).fill(cursor(900)), cursor(901)]);
});

test("silence counts as a cut", async t => {
  const server = await scripted(t, stream([hello(0), frame(1)], "stay"), () => {}, stream([hello(1), frame(2), end(2)]));
  const { runtime, waits } = world();
  const watched = [];
  // Silence passes as soon as the first event, and later the second request, was seen.
  const sleep = (ms, signal) => (ms === 10_000 ? new Promise(resolve => watched.push(resolve)) : runtime.sleep(ms, signal));
  const planwire = new Planwire(server.url, { runtime: { ...runtime, sleep }, onRetry: note => notes.push(note.error.message) });
  const notes = [];
  const seen = [];
  const silence = async requests => {
    while (server.requests.length < requests) await new Promise(setImmediate);
    watched.at(-1)();
  };
  for await (const item of planwire.follow()) {
    seen.push(item.kind === "event" ? item.event.payload.number : item.kind);
    if (seen.length === 1) void (async () => { await new Promise(setImmediate); await silence(1); await silence(2); })();
  }
  assert.deepEqual(seen, [1, 2, "end"]);
  assert.deepEqual(notes, new Array(2).fill("the server was silent for 10000 ms"));
  assert.equal(waits.length, 2);
});

test("reader that takes its time is no silence", async t => {
  const server = await scripted(t, stream([hello(0) + frame(1) + frame(2), end(2)]));
  const { runtime } = world();
  const open = new Set();
  const sleep = (ms, signal) => (ms !== 10_000 ? runtime.sleep(ms, signal) : new Promise(resolve => {
    open.add(resolve);
    signal.addEventListener("abort", () => open.delete(resolve));
  }));
  const seen = [];
  for await (const item of new Planwire(server.url, { runtime: { ...runtime, sleep } }).follow()) {
    seen.push(item.kind);
    assert.equal(open.size, 0, "no clock runs while the caller works");
  }
  assert.deepEqual(seen, ["event", "event", "end"]);
});

test("plan that has ended already is an end", async t => {
  const server = await scripted(t, ({ response }) => response.writeHead(204).end());
  const items = [];
  for await (const item of client(server).planwire.follow({ planId: "p", after: cursor(9) })) items.push(item);
  assert.deepEqual(items, [{ kind: "end", planId: "p", cursor: cursor(9) }]);
  assert.deepEqual(resumed(server), [cursor(9)]);
});

test("end that was missed is told by the next connection", async t => {
  const server = await scripted(t, stream([hello(0), frame(1)], "cut"), ({ response }) => response.writeHead(204).end());
  assert.deepEqual(await short(client(server).planwire.follow({ planId: "p" })), [1, "end"]);
});

test("gap in a stream is told, and what is kept and new follows", async t => {
  const gap = `event: gap\ndata: {"requested":"${cursor(3)}","first_kept":"${cursor(7)}"}\n\n`;
  const server = await scripted(t, stream([hello(0), ...events(1, 3), gap]), stream([hello(0), frame(1), frame(7), end(7)]));
  const items = [];
  for await (const item of client(server).planwire.follow()) items.push(item);
  assert.deepEqual(items.map(item => item.event?.payload.number ?? item.kind), [1, 2, 3, "gap", 7, "end"]);
  assert.deepEqual(items[3], { kind: "gap", requested: cursor(3), firstKept: cursor(7) });
  assert.match(server.requests[1].url, /after=start/);
  assert.equal(resumed(server)[1], undefined);
});

test("gap at a connection is told once, however often it is cut while it catches up", async t => {
  const pruned = exchange => problem(exchange, 410, "cursor-pruned", { cursor: cursor(3), pruned_to: cursor(6) });
  const server = await scripted(
    t, stream([hello(0), ...events(1, 3)]), pruned, stream([hello(0), frame(1)], "cut"), pruned, stream([hello(0), frame(2), frame(7), end(7)]),
  );
  const items = [];
  for await (const item of client(server).planwire.follow()) items.push(item);
  assert.deepEqual(items.map(item => item.event?.payload.number ?? item.kind), [1, 2, 3, "gap", 7, "end"]);
  assert.deepEqual(items[3], { kind: "gap", requested: cursor(3), firstKept: cursor(6) });
});

for (const [status, slug] of [[404, "plan-unknown"], [409, "cursor-other-log"], [409, "cursor-beyond-head"], [400, "cursor-malformed"], [500, "read-failed"]]) {
  test(`${slug} ends it with that problem`, async t => {
    const server = await scripted(t, stream([hello(0), frame(1)]), exchange => problem(exchange, status, slug));
    await assert.rejects(short(client(server).planwire.follow()), error => error instanceof ProblemError && error.kind === slug);
    assert.equal(server.requests.length, 2);
  });
}

test("what is no stream of Planwire is said as such", async t => {
  const html = ({ response }) => response.writeHead(200, { "content-type": "text/html" }).end("<html>");
  for (const answer of [html, stream([hello(0), `id: ${cursor(1)}\ndata: {\n\n`]), stream(["data: {}\n\n"]), stream([hello(0), frame(1), "id: OTHERLOG-0000000000000002\ndata: {}\n\n"])]) {
    const server = await scripted(t, answer);
    await assert.rejects(short(client(server).planwire.follow()), AnswerError);
  }
});

test("it gives up when it is told to", async t => {
  const server = await scripted(t, cut);
  await assert.rejects(short(client(server).planwire.follow({ giveUpAfterMs: 1_000 })), { name: "ConnectionError" });
  assert.throws(() => client(server).planwire.follow({ eventTypes: new Array(65).fill("a.b") }), LimitError);
});

test("reader that stops goes on after the last item, and the connection is closed", async t => {
  const closed = [];
  const first = async exchange => {
    exchange.request.socket.on("close", () => closed.push(true));
    await stream([hello(0), ...events(1, 3)], "stay")(exchange);
  };
  const server = await scripted(t, first, stream([hello(1), ...events(2, 3), end(3)]));
  const follow = client(server).planwire.follow();
  for await (const item of follow) if (item.kind === "event") break;
  assert.equal(follow.cursor, cursor(1));
  assert.equal(follow.connected, false);
  while (closed.length === 0) await new Promise(setImmediate);
  assert.deepEqual(await short(follow), [2, 3, "end"]);
});

test("aborted signal ends it with its reason: while it waits for an event, to connect, and to come back", async t => {
  const stay = stream([hello(0)], "stay");
  for (const [handler, when] of [[stay, "event"], [() => {}, "connect"], [cut, "retry"]]) {
    const controller = new AbortController();
    const abort = () => setImmediate(() => controller.abort("enough"));
    const server = await scripted(t, async exchange => { await handler(exchange); if (when !== "retry") abort(); });
    const { planwire } = client(server, { hold: 100, retry: { firstMs: 1_000 }, onRetry: abort });
    await assert.rejects(short(planwire.follow({ signal: controller.signal })), reason => reason === "enough", when);
  }
  await assert.rejects(short(new Planwire("http://127.0.0.1:1").follow({ signal: AbortSignal.abort("early") })), reason => reason === "early");
});

test("handler is called with one event at a time until it is unsubscribed", async t => {
  const server = await scripted(t, stream([hello(0), ...events(1, 9)], "stay"));
  const seen = [];
  let running = 0;
  const subscription = client(server).planwire.subscribe(async event => {
    assert.equal(++running, 1);
    await new Promise(setImmediate);
    running--;
    seen.push(event.payload.number);
    if (event.payload.number === 5) subscription.unsubscribe();
  });
  await subscription.done;
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  assert.equal(subscription.cursor, cursor(5));
  assert.match(server.requests[0].url, /after=now/);
});

test("subscription ends with the plan, with its signal, and with what its handler throws", async t => {
  const whole = stream([hello(0), frame(1), end(1)]);
  const ended = client(await scripted(t, whole)).planwire.subscribe(() => {}, { planId: "p", after: "start" });
  await ended.done;
  const controller = new AbortController();
  const stay = await scripted(t, stream([hello(0), frame(1)], "stay"));
  await client(stay).planwire.subscribe(() => controller.abort(), { signal: controller.signal }).done;
  const failed = client(await scripted(t, whole)).planwire.subscribe(() => { throw new Error("handler"); });
  await assert.rejects(failed.done, { message: "handler" });
  assert.equal(failed.cursor, null);
});

test("subscription that misses events says so, or ends", async t => {
  const gap = `event: gap\ndata: {"requested":"${cursor(1)}","first_kept":"${cursor(7)}"}\n\n`;
  const script = [stream([hello(0), frame(1), gap]), stream([hello(0), frame(7), end(7)])];
  const seen = [];
  const planwire = client(await scripted(t, ...script)).planwire;
  const subscription = planwire.subscribe(event => seen.push(event.payload.number), { onGap: gap => seen.push(gap.kind) });
  await subscription.done;
  assert.deepEqual(seen, [1, "gap", 7]);
  const silent = client(await scripted(t, ...script)).planwire.subscribe(() => {});
  await assert.rejects(silent.done, error => error instanceof GapError && error.firstKept === cursor(7));
});
