// The client and the real program.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { Planwire, ProblemError, eventId } from "planwire";
import { serve, skip } from "./served.mjs";
import { short } from "./kit.mjs";

const started = (plan_id, more = {}) => ({ event_type: "PlanStarted", plan_id, payload: { name: plan_id, ...more } });
const note = (plan_id, number, more = {}) => ({ event_type: "acme.note", plan_id, payload: { number, ...more } });
const completed = plan_id => ({ event_type: "PlanCompleted", plan_id });
const kind = (kind, refusal) => error => error instanceof ProblemError && error.kind === kind && (refusal === undefined || error.refusal === refusal);

const DOCUMENT = {
  plan: "sizes",
  goal: "Say how large two folders are",
  inputs: { folders: { type: "list" } },
  steps: {
    each: {
      for_each: "inputs.folders",
      with: { folder: "${item}" },
      plan: { plan: "one", goal: "one folder", inputs: { folder: { type: "path" } }, steps: { list: { tool: "file.list", with: { root: "${inputs.folder}" } } } },
    },
  },
  outputs: { folders: "${inputs.folders}" },
};

test("events are stored once, in order, with what nobody knows kept", { skip }, async t => {
  const { url } = await serve(t);
  const planwire = new Planwire(url);
  const first = { ...started("p", { "x-team": { a: [1, "é🚀"] } }), event_id: eventId() };
  const places = await planwire.publishAll([first, note("p", 1), note("p", 2)]);
  assert.deepEqual(places.map(place => [place.position, place.seq, place.duplicate]), [[1, 1, false], [2, 2, false], [3, 3, false]]);
  const again = await planwire.publish(first);
  assert.deepEqual([again.position, again.duplicate], [1, true]);
  await assert.rejects(planwire.publish({ ...first, payload: { name: "other" } }), kind("event-conflict"));
  await assert.rejects(planwire.publish(note("unknown", 1)), kind("event-refused", "plan_not_started"));
  await assert.rejects(planwire.publish({ event_type: "NoSuchType", plan_id: "p" }), kind("event-invalid"));
  const mixed = await Promise.allSettled([planwire.publish(note("p", 3)), planwire.publish(note("unknown", 1)), planwire.publish(note("p", 4))]);
  assert.deepEqual(mixed.map(one => one.status), ["fulfilled", "rejected", "fulfilled"]);
  const event = await planwire.event(first.event_id);
  assert.deepEqual(event.payload, { name: "p", "x-team": { a: [1, "é🚀"] } });
  const numbers = [];
  for await (const event of planwire.events({ planId: "p", eventTypes: ["acme.note"], limit: 1 })) numbers.push(event.payload.number);
  assert.deepEqual(numbers, [1, 2, 3, 4]);
  const page = await planwire.eventsPage({ after: places[1].cursor, limit: 1 });
  assert.deepEqual([page.events.length, page.events[0].position, page.at_head], [1, 3, false]);
  await assert.rejects(planwire.event(eventId()), kind("event-unknown"));
});

test("list of 2,500 events is stored whole and in order", { skip }, async t => {
  const { url } = await serve(t);
  const planwire = new Planwire(url);
  await planwire.publish(started("p"));
  const places = await planwire.publishAll(Array.from({ length: 2_500 }, (_, at) => note("p", at, { text: "x".repeat(600) })));
  assert.deepEqual(places.map(place => place.seq), Array.from({ length: 2_500 }, (_, at) => at + 2));
});

test("plan is started, followed with its subplans, folded and listed", { skip }, async t => {
  const folder = mkdtempSync(join(tmpdir(), "planwire-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const policy = join(folder, "policy.toml");
  writeFileSync(policy, "[[network.allow]]\ntool = 'file.list'\n");
  const { url } = await serve(t, "--allow-inline-documents", "--policy", policy);
  const planwire = new Planwire(url);
  const { plan_id } = await planwire.start({ document: DOCUMENT, inputs: { folders: ["/", "/"] }, context_id: "weekly" });
  const types = [];
  for await (const item of planwire.follow({ planId: plan_id, tree: true })) types.push(item.kind === "event" ? item.event.event_type : item.kind);
  assert.deepEqual([types[0], types.at(-2), types.at(-1)], ["PlanStarted", "PlanCompleted", "end"]);
  assert.equal(types.filter(type => type === "ToolCompleted").length, 2);
  const plan = await planwire.plan(plan_id);
  assert.deepEqual([plan.state, plan.context_id, plan.fold.phase, plan.fold.steps[0].items.ok], ["completed", "weekly", "completed", 2]);
  assert.deepEqual(plan.fold.outputs, { folders: ["/", "/"] });
  assert.ok(JSON.stringify(await planwire.document(plan_id)).includes("file.list"));
  const rows = [];
  for await (const row of planwire.plans({ tree: plan_id, limit: 1 })) rows.push([row.plan_id === plan_id, row.depth]);
  assert.deepEqual(rows, [[true, 0], [false, 1], [false, 1]]);
  assert.deepEqual((await planwire.plansPage({ state: "failed" })).plans, []);
  await assert.rejects(planwire.start({ document: "no-such-plan" }), kind("document-unregistered"));
  await assert.rejects(planwire.start({ document: DOCUMENT }), kind("inputs-invalid"));
  await assert.rejects(planwire.start({ document: { plan: "x" } }), error => kind("document-invalid")(error) && error.members.diagnostics.length > 0);
  await assert.rejects(planwire.plan("unknown"), kind("plan-unknown"));
  await assert.rejects(planwire.blob(plan_id, "0".repeat(64)), kind("blob-unknown"));
  await assert.rejects(planwire.cancel(plan_id), kind("plan-ended"));
  await assert.rejects(new Planwire(url, { token: "wrong" }).plan(plan_id), kind("token-refused"));
});

test("plan is asked to end", { skip }, async t => {
  const { url } = await serve(t);
  const planwire = new Planwire(url);
  await planwire.publish(started("p"));
  const { event_id } = await planwire.cancel("p", "wrong folder");
  const event = await planwire.event(event_id);
  assert.deepEqual([event.event_type, event.payload.reason], ["CancelRequested", "wrong folder"]);
  assert.equal((await planwire.plan("p")).fold.phase, "cancelling");
});

test("subscription goes on when the server stops and starts again", { skip }, async t => {
  const served = await serve(t);
  const planwire = new Planwire(served.url);
  await planwire.publish(started("p"));
  const seen = [];
  const subscription = planwire.subscribe(event => seen.push(event.payload.number ?? event.event_type), { planId: "p", after: "start" });
  for (let number = 0; number < 3; number++) {
    await planwire.publish(note("p", number));
    await served.stop();
    await served.start();
  }
  await planwire.publish(completed("p"));
  await subscription.done;
  assert.deepEqual(seen, ["PlanStarted", 0, 1, 2, "PlanCompleted"]);
  assert.deepEqual(await short(planwire.follow({ planId: "p", after: subscription.cursor })), ["end"]);
});

test("subscription from now on misses nothing once it is open", { skip }, async t => {
  const { url } = await serve(t);
  const planwire = new Planwire(url);
  await planwire.publish(started("p"));
  const seen = [];
  const subscription = planwire.subscribe(event => seen.push(event.payload.number ?? event.event_type), { planId: "p", tree: true });
  await subscription.opened;
  await planwire.publishAll([note("p", 1), completed("p")]);
  await subscription.done;
  assert.deepEqual(seen, [1, "PlanCompleted"]);
  const failed = planwire.subscribe(() => {}, { planId: "unknown" });
  await Promise.all([failed.opened, assert.rejects(failed.done, kind("plan-unknown"))]);
});

test("question is answered, once", { skip }, async t => {
  const { url } = await serve(t);
  const planwire = new Planwire(url);
  await planwire.publish(started("p"));
  await planwire.publish({
    event_type: "InputRequested", plan_id: "p",
    payload: { request_id: "q", kind: "input", question: "Which branch?", schema: { type: "string" } },
  });
  const [question] = (await planwire.plan("p")).fold.questions;
  assert.deepEqual([question.request_id, question.kind, question.question], ["q", "input", "Which branch?"]);
  await assert.rejects(planwire.answer("p", { value: 7 }), error => kind("answer-invalid")(error) && error.members.errors.length > 0);
  const answer = { request_id: "q", value: "main", answered_by: "ann", event_id: eventId() };
  const taken = await planwire.answer("p", answer);
  assert.deepEqual([taken.plan_id, taken.request_id, taken.event_id, taken.duplicate], ["p", "q", answer.event_id, false]);
  assert.equal((await planwire.answer("p", answer)).duplicate, true);
  await assert.rejects(planwire.answer("p", { request_id: "q", value: "other" }), kind("event-refused", "request_not_open"));
  const event = await planwire.event(answer.event_id);
  assert.deepEqual([event.event_type, event.payload.value, event.payload.answered_by], ["InputReceived", "main", "ann"]);
  await assert.rejects(planwire.answer("unknown", { value: 1 }), kind("plan-unknown"));
});
