// The official A2A client for JavaScript against a running server: `client.mjs URL BINDING NODE_MODULES`.
//
// Prints one JSON object per scenario, and `cut` where the server shall be killed and started again; then waits for a
// line.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [url, binding, modules] = process.argv.slice(2);
const sdk = path => import(pathToFileURL(`${modules}/@a2a-js/sdk/dist/${path}`));
const { ClientFactory, ClientFactoryOptions } = await sdk("client/index.js");
const { Role, TaskState, taskStateToJSON } = await sdk("index.js");
const EXTENSION = "urn:planwire:a2a:plan-events:1";
// Updates of one connection, in turn; each kill of the server brings twelve new ones, so none waits in vain.
const SIZES = [0, 0, 9];
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const connect = () => new ClientFactory(
  ClientFactoryOptions.createFrom(ClientFactoryOptions.default, { preferredTransports: [binding] }),
).createFromUrl(url);

let number = 0;
const textPart = value => ({ content: { $case: "text", value }, metadata: undefined, filename: "", mediaType: "" });
const request = (text, skill, { taskId = "", returnImmediately = false, said } = {}) => ({
  tenant: "",
  message: {
    messageId: `${binding}-js-${number++}`, contextId: "", taskId, role: Role.ROLE_USER, parts: [textPart(text)],
    metadata: said ? { [EXTENSION]: said } : skill ? { skillId: skill } : undefined, extensions: [], referenceTaskIds: [],
  },
  configuration: { acceptedOutputModes: [], taskPushNotificationConfig: undefined, returnImmediately },
  metadata: undefined,
});
const state = holder => taskStateToJSON(holder.status.state).replace("TASK_STATE_", "");
const text = parts => parts.map(part => (part.content?.$case === "text" ? part.content.value : "")).join("");
const holder = update => update.payload.value;
const note = update => holder(update).metadata[EXTENSION];
const collect = async stream => {
  const updates = [];
  for await (const update of stream) updates.push(update);
  return updates;
};
const contiguous = updates => {
  const seqs = updates.map(update => Number(note(update).seq));
  assert.deepEqual(seqs, seqs.map((_, at) => seqs[0] + at));
};

const scenarios = {
  async send(client) {
    const task = await client.sendMessage(request("Ann", "greet"));
    assert.equal(state(task), "COMPLETED");
    assert.ok(text(task.status.message.parts).startsWith("Hello, Ann"));
    assert.deepEqual(task.artifacts.map(artifact => [artifact.name, text(artifact.parts)]), [["card.txt", "Dear Ann"]]);
    const direct = await client.sendMessage(request("ping"));
    assert.equal(text(direct.parts), "pong");
    return { state: state(task) };
  },
  async stream(client) {
    const updates = await collect(client.sendMessageStream(request("Bob", "greet")));
    assert.equal(updates[0].payload.$case, "task");
    contiguous(updates);
    assert.equal(state(holder(updates.at(-1))), "COMPLETED");
    return { updates: updates.length };
  },
  async second_subscriber(client) {
    const { id } = await client.sendMessage(request("go", "ask", { returnImmediately: true }));
    const both = [1, 2].map(() => collect(client.resubscribeTask({ tenant: "", id })));
    await reaches(client, id, "INPUT_REQUIRED");
    await client.sendMessage(request("blue", "", { taskId: id }));
    const all = await Promise.all(both);
    for (const updates of all) {
      assert.equal(updates[0].payload.$case, "task");
      contiguous(updates);
      assert.equal(state(holder(updates.at(-1))), "COMPLETED");
    }
    return { updates: all.map(updates => updates.length) };
  },
  async multi_turn(client) {
    const asked = await client.sendMessage(request("go", "ask"));
    assert.equal(state(asked), "INPUT_REQUIRED");
    assert.equal(text(asked.status.message.parts), "Which colour?");
    const task = await client.sendMessage(request("green", "", { taskId: asked.id }));
    assert.deepEqual([task.id, state(task), task.contextId], [asked.id, "COMPLETED", asked.contextId]);
    assert.ok(text(task.status.message.parts).includes("green"));
    return { history: task.history.map(entry => text(entry.parts)) };
  },
  async subplan_question(client) {
    const root = await client.sendMessage(request("go", "parent"));
    assert.deepEqual([state(root), text(root.status.message.parts)], ["INPUT_REQUIRED", "Which colour?"]);
    const task = await client.sendMessage(request("red", "", { taskId: root.id }));
    assert.deepEqual([task.id, state(task)], [root.id, "COMPLETED"]);
    const listed = await client.listTasks(list({ contextId: root.contextId }));
    assert.deepEqual([listed.tasks.length, listed.totalSize], [2, 2]);
    return { tasks: listed.tasks.length };
  },
  async cancel(client) {
    const { id } = await client.sendMessage(request("go", "ask"));
    const canceled = await client.cancelTask({ tenant: "", id, metadata: undefined });
    assert.equal(state(canceled), "CANCELED");
    return { state: state(canceled) };
  },
  async pause(client) {
    const asks = what => client.sendMessage(
      request(what, "", { taskId: id, said: { request: what, reason: "lunch" } }),
      { serviceParameters: { "A2A-Extensions": EXTENSION } },
    );
    const said = task => task.metadata[EXTENSION];
    const { id } = await client.sendMessage(request("go", "twice"));
    assert.equal(said(await asks("pause")).paused, true);
    const task = await client.sendMessage(request("green", "", { taskId: id, returnImmediately: true }));
    assert.deepEqual([state(task), said(task).paused], ["WORKING", true]);
    assert.equal(said(await asks("resume")).paused, undefined);
    await reaches(client, id, "INPUT_REQUIRED");
    return { state: "INPUT_REQUIRED" };
  },
  async listing(client) {
    const ids = [];
    for (let pageToken = ""; ;) {
      const page = await client.listTasks(list({ pageSize: 2, pageToken }));
      ids.push(...page.tasks.map(task => task.id));
      pageToken = page.nextPageToken;
      if (!pageToken) {
        assert.deepEqual([new Set(ids).size, page.totalSize], [ids.length, ids.length]);
        return { tasks: ids.length };
      }
    }
  },
  // Follows a task to its end, cut off at many places; the server is killed once in three.
  async resume() {
    const followed = { seen: [], cursor: undefined, ended: false };
    let cuts = 0;
    while (!followed.ended) {
      await connection(followed, SIZES[cuts % 3], cuts % 3 === 1).catch(error => {
        if (error instanceof assert.AssertionError) throw error;
      });
      cuts += followed.ended ? 0 : 1;
    }
    assert.deepEqual(followed.seen, followed.seen.map((_, at) => at + 1));
    return { updates: followed.seen.length, cuts };
  },
};

// Takes so many updates; then leaves, or lets the server be killed and takes what still comes.
async function connection(followed, size, kill) {
  const client = await connect();
  const leave = new AbortController();
  // With the extension the rest of a task that has ended meanwhile is sent too.
  const serviceParameters = { "A2A-Extensions": EXTENSION };
  if (followed.cursor) serviceParameters["Last-Event-ID"] = followed.cursor;
  const options = { serviceParameters, signal: leave.signal };
  let taken = 0;
  for await (const update of client.resubscribeTask({ tenant: "", id: "resumed" }, options)) {
    taken += take(followed, update);
    if (taken !== size) continue;
    if (!kill) break;
    console.log("cut");
    await lines.next();
  }
  leave.abort();
}

// Takes an update in; 1 if it is one, and not the task as of the cursor.
function take(followed, update) {
  const said = note(update);
  followed.cursor = said.cursor;
  if (update.payload.$case === "task") {
    if (followed.seen.length > 0) assert.equal(Number(said.seq), followed.seen.at(-1));
    else followed.seen = Array.from({ length: Number(said.seq) }, (_, at) => at + 1);
    return 0;
  }
  followed.seen.push(Number(said.seq));
  followed.ended = state(holder(update)) === "COMPLETED";
  return 1;
}

const list = members => ({
  tenant: "", contextId: "", status: TaskState.TASK_STATE_UNSPECIFIED, pageSize: undefined, pageToken: "",
  historyLength: undefined, statusTimestampAfter: undefined, includeArtifacts: undefined, ...members,
});

async function reaches(client, id, wanted) {
  for (let tries = 0; tries < 200; tries++) {
    const task = await client.getTask({ tenant: "", id, historyLength: undefined });
    if (state(task) === wanted) return;
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  assert.fail(`${id} is not ${wanted}`);
}

const client = await connect();
for (const [name, scenario] of Object.entries(scenarios)) {
  console.log(JSON.stringify({ scenario: name, ...await scenario(client) }));
}
process.exit(0);
