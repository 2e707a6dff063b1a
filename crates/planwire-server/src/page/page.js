"use strict";
// Rows that one plan shows (what comes after is counted), roots that the list shows, events that make a tree large, characters of a
// text in a row and of what a call says of its progress.
const ROWS_MAX = 400, ROOTS_MAX = 200, LARGE = 250, RETRY_MS = 1500, TEXT_MAX = 160, PROGRESS_MAX = 80;
const $ = id => document.getElementById(id);
// All text of events goes through textContent: nothing in an event can become part of the page, and what nobody would see or what
// reorders a line is spelled out.
const safe = text => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, c => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
const fill = (el, value) => { const text = safe(String(value ?? "")); if (el && el.textContent !== text) el.textContent = text; };
const make = (tag, className, text) => { const el = document.createElement(tag); if (className) el.className = className; if (text !== undefined) fill(el, text); return el; };
const short = (value, max = TEXT_MAX) => { const text = typeof value === "string" ? value : JSON.stringify(value) ?? ""; return text.length > max ? text.slice(0, max) + "…" : text; };
const plain = value => typeof value === "string" ? value : Array.isArray(value) && value.every(item => typeof item === "string") ? value.join(", ") : JSON.stringify(value);
const named = values => Array.isArray(values?.argv) ? values.argv.join(" ") : Object.entries(values ?? {}).map(([name, value]) => `${name}: ${plain(value)}`).join("  ");
const took = ms => ms < 1000 ? `${Math.max(0, Math.round(ms))} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} m ${String(Math.floor(ms / 1000) % 60).padStart(2, "0")} s`;
// What people call a plan: one of many has an input that says what it is about.
const called = ({ name, inputs }) => [name, ["label", "title", "name"].map(key => inputs?.[key]).find(value => value && typeof value === "string")].filter(Boolean).join(" ");
const clock = text => new Date(text).toLocaleTimeString();

/* One stream that shows every event once. EventSource comes back by itself with Last-Event-ID; where it gives up
   (it was answered with an error, or with 204 at the end) we ask with a page what is the matter. */
class Follow {
  constructor(path, after, on) { Object.assign(this, { path, after, on, last: 0, stopped: false }); this.open(); }
  url(more) { return this.path + (this.path.includes("?") ? "&" : "?") + more + (this.after ? "&after=" + this.after : ""); }
  open() {
    if (this.stopped) return;
    const source = this.source = new EventSource(this.url("event_field=off"));
    source.onopen = () => this.on.wire?.(true);
    source.onmessage = message => {
      const event = JSON.parse(message.data);
      this.after = message.lastEventId;
      if (event.position <= this.last) return; this.last = event.position; this.on.event(event, message.data.length);
    };
    source.addEventListener("end", () => { this.stop(); this.on.end?.(); });
    source.onerror = () => { this.on.wire?.(false); if (source.readyState === EventSource.CLOSED) this.again(); };
  }
  again() { clearTimeout(this.timer); if (!this.stopped) this.timer = setTimeout(() => this.ask(), RETRY_MS); }
  async ask() {
    try {
      const answer = await fetch(this.url("limit=1"), { headers: { Accept: "application/json" } });
      if (this.stopped) return;
      if (answer.ok && (await answer.json()).ended) { this.stop(); this.on.end?.(); return; }
      // Another log, or an older copy of this one: what we show is no longer true.
      if (answer.status === 409 || answer.status === 410 || answer.status === 404) { this.stop(); this.on.lost(); return; }
      if (answer.ok) this.open(); else this.again();
    } catch { this.again(); }
  }
  stop() { this.stopped = true; clearTimeout(this.timer); this.source?.close(); }
}

/* The list of root plans. */
const roots = new Map();
let rootsStream, starts = 0, startTimer, chosen, chosenByHand = false;
function showRoot(plan, newest) {
  let root = roots.get(plan.plan_id);
  if (!root) {
    root = { el: make("button", "root"), name: make("span", "name"), when: make("small") };
    root.el.append(make("span", "mark"), root.name, root.when);
    root.el.onclick = () => { chosenByHand = true; choose(plan.plan_id); };
    roots.set(plan.plan_id, root);
    if (newest) $("roots").prepend(root.el); else $("roots").append(root.el);
    while (roots.size > ROOTS_MAX) { const [id, old] = roots.entries().next().value; old.el.remove(); roots.delete(id); }
  }
  if (plan.name) fill(root.name, plan.name); if (plan.started_at) fill(root.when, clock(plan.started_at));
  root.el.classList.remove("open", "done", "failed"); root.el.classList.add({ completed: "done", failed: "failed" }[plan.state] ?? "open");
}
// Both streams may find at once that the log is another one: the start that began last counts.
async function start() {
  const mine = ++starts;
  clearTimeout(startTimer); rootsStream?.stop();
  try {
    const head = await (await fetch("/v1/events?after=now&limit=1")).json(); if (mine !== starts) return;
    const list = await (await fetch("/v1/plans?limit=100")).json(); if (mine !== starts) return;
    roots.clear(); $("roots").replaceChildren();
    for (const plan of list.plans.reverse()) showRoot(plan, true);
    rootsStream = new Follow("/v1/events?event_type=PlanStarted&event_type=PlanCompleted&event_type=PlanFailed", head.next, {
      wire: live => { $("wire").classList.toggle("live", live); fill($("wire"), live ? "live" : "reconnecting"); },
      lost: start,
      event: event => {
        if (event.parent_plan_id) return;
        const state = { PlanCompleted: "completed", PlanFailed: "failed" }[event.event_type] ?? "open";
        const first = event.event_type === "PlanStarted"; if (!first && !roots.has(event.plan_id)) return;
        showRoot({ plan_id: event.plan_id, name: event.payload.name, state, started_at: first ? event.timestamp : undefined }, true);
        if (first && !chosenByHand) choose(event.plan_id);
      },
    });
    const wanted = location.hash.slice(1);
    if (/^[A-Za-z0-9_-]+$/.test(wanted)) { chosenByHand = true; choose(wanted); }
    else if (list.plans.length) choose(list.plans.at(-1).plan_id);
  } catch { if (mine === starts) { $("wire").classList.remove("live"); fill($("wire"), "reconnecting"); startTimer = setTimeout(start, RETRY_MS); } }
}

/* The chosen tree. */
let tree;
const tally = () => ({ open: 0, done: 0, failed: 0, unknown: 0 });
function choose(id) {
  tree?.stream.stop(); roots.get(chosen)?.el.classList.remove("picked"); chosen = id; roots.get(id)?.el.classList.add("picked");
  if (chosenByHand) history.replaceState(null, "", "#" + id);
  closeDetail(); $("tree").replaceChildren(); $("asks").replaceChildren(); $("empty").hidden = true; $("head").hidden = false;
  tree = { id, nodes: new Map(), running: new Set(), count: 0, plans: tally(), calls: tally(), asks: tally() };
  const mine = tree;
  tree.stream = new Follow(`/v1/plans/${id}/events?tree=true`, "", { event: (event, size) => { if (tree === mine) show(event, size); }, lost: () => missing(id) });
  draw();
}
function missing(id) { if (roots.has(id) || !chosenByHand) { chosenByHand = false; start(); } else { fill($("name"), "This plan is not in the log"); fill($("goal"), id); } }
function setState(node, counts, state) { if (node.state) { counts[node.state]--; node.el?.classList.remove(node.state); } node.state = state; counts[state]++; node.el?.classList.add(state); }
const cells = (name, note) => ({ name: make("span", "name", name), note: make("span", "note", note), side: make("span", "side"), time: make("span", "time") });
function planNode(id, parentId) {
  let node = tree.nodes.get(id);
  if (!node) {
    const box = make("details"), el = make("summary"), inner = make("div");
    node = { id, el, box, inner, rows: new Map(), events: [], left: 0, shown: 0, used: { tokens: 0, cost: 0, tool_calls: 0 }, limits: {}, ...cells(id) };
    el.append(make("span", "mark"), node.name, node.note, node.side, node.time);
    el.onclick = () => { node.touched = true; detail(node, node.name.textContent); };
    box.open = true;
    box.append(el, inner);
    node.parent = parentId && tree.nodes.get(parentId);
    (node.parent ? node.parent.inner : $("tree")).append(box);
    tree.nodes.set(id, node);
  }
  return node;
}
/* A row beyond those that a plan shows has no elements and keeps no events, only its state. One without a key is never asked for again. */
function row(node, key, className, name, note) {
  let found = node.rows.get(key);
  if (!found) {
    const hidden = node.shown++ - ROWS_MAX + 1;
    found = hidden > 0 ? {} : shownRow(className, name, note);
    if (key) node.rows.set(key, found);
    if (hidden > 0) fill(node.more ??= node.inner.appendChild(make("p", "note")), `… ${hidden} more, not shown here: planwire events --plan ${node.id}`);
    else node.inner.append(found.el);
  }
  return found;
}
function shownRow(className, name, note) {
  const found = { el: make("button", "row" + (className ? " " + className : "")), events: [], left: 0, ...cells(name, note) };
  found.el.append(make("span", "mark"), found.name, found.note, found.side, found.time);
  found.el.onclick = () => detail(found, name);
  return found;
}
/* What calls used adds up for all plans above. Limits are those of the root's document and those that were warned of. */
const KINDS = { tokens: "Tokens", cost: "Cost", tool_calls: "Tool calls" }, WARN_PART = 0.8;
const amount = (kind, value, exact) => kind === "timeout" ? took(value) : new Intl.NumberFormat("en", kind === "cost" ? value < 1 ? { maximumSignificantDigits: 3 } : { maximumFractionDigits: 2 } : exact ? {} : { notation: "compact", maximumFractionDigits: 1 }).format(value);
const unit = kind => kind === "cost" ? short(tree.currency || "", 8) : kind === "tokens" ? "tokens" : "calls";
const level = (used, max) => used >= max ? "over" : used >= WARN_PART * max ? "near" : "";
const words = (used, limits) => Object.keys(KINDS).filter(kind => kind in limits || kind !== "tool_calls" && used[kind])
  .map(kind => `${kind === "cost" && !tree.currency ? "cost " : ""}${amount(kind, used[kind])}${kind in limits ? " of " + amount(kind, limits[kind]) : ""} ${unit(kind)}`).join(" · ");
function spend(node, used) {
  for (; node; node = node.parent) {
    for (const kind in used) node.used[kind] += used[kind];
    const worst = Object.entries(node.limits).map(([kind, max]) => level(node.used[kind], max)).sort().at(-1);
    if (node.id !== tree.id) { fill(node.side, words(node.used, node.limits)); node.side.className = "side " + (worst ?? ""); }
  }
}
// In a large tree what went well folds itself away, so that what runs or failed stays in sight; a click opens it.
function fold(node) { if (node.state === "done" && !node.touched && node.id !== tree.id) node.box.open = false; }
function show(event, size) {
  const p = event.payload, node = planNode(event.plan_id, event.parent_plan_id);
  let item = node;
  tree.count++;
  // Without its payload an event says no more than that it was there; plans begin and end all the same.
  const known = !p.$removed || ["PlanStarted", "PlanCompleted", "PlanFailed"].includes(event.event_type);
  switch (known ? event.event_type : "") {
    case "PlanStarted":
      setState(node, tree.plans, "open");
      node.started = Date.parse(event.timestamp); fill(node.name, short(called(p) || event.plan_id)); node.goal = p.goal; if (!node.note.textContent) fill(node.note, short(p.goal ?? ""));
      if (node.id === tree.id && p.document_digest) limitsOf(node);
      break;
    case "PlanCompleted": case "PlanFailed":
      setState(node, tree.plans, event.event_type === "PlanCompleted" ? "done" : "failed");
      node.ended = Date.parse(event.timestamp); fill(node.time, took(node.ended - node.started));
      if (p.error) fill(node.note, `${p.reason}: ${short(p.error.message)}`);
      for (const item of node.rows.values()) if (item.state === "open") item.card ? closeAsk(item, "failed", "not needed any more") : closeCall(item, node.state === "done" || node.endRemoved ? "unknown" : "failed", "its end is not known");
      if (tree.large) fold(node);
      break;
    case "SubplanSpawned": { const child = planNode(p.child_plan_id, event.plan_id); fill(child.name, short(called(p) || p.child_plan_id)); fill(child.note, short(`${p.step === p.name ? "" : p.step + "  "}${named(p.inputs)}`)); keep(child, event, size); break; }
    case "SubplanCompleted": { const child = tree.nodes.get(p.child_plan_id); if (child) keep(child, event, size); break; }
    case "ToolCalled":
      item = row(node, "call " + p.call_id, "", short(p.step || p.tool) + (p.attempt > 1 ? `, attempt ${p.attempt}` : ""), short(`${p.step ? p.tool + "  " : ""}${named(p.arguments)}`));
      setState(item, tree.calls, "open"); item.started = Date.parse(event.timestamp); tree.running.add(item); spend(node, { tool_calls: 1 });
      break;
    case "ToolProgress": // The newest text takes the place of the one before.
      item = node.rows.get("call " + p.call_id) ?? node;
      if (item !== node) { forget(item, "ToolProgress"); fill(item.side, short(p.text, PROGRESS_MAX)); }
      break;
    case "ToolCompleted":
      item = row(node, "call " + p.call_id, "", short(p.step || p.tool), "");
      closeCall(item, p.ok ? "done" : "failed", p.error && short(p.error.message)); fill(item.time, took(p.duration_ms ?? 0));
      if (!item.el) node.rows.delete("call " + p.call_id);
      if (p.usage) {
        const { input_tokens, output_tokens, total_tokens, cost, currency } = p.usage, used = { tokens: Number(total_tokens ?? (input_tokens ?? 0) + (output_tokens ?? 0)) || 0, cost: Number(cost) || 0 };
        if (cost && currency) tree.currency = (tree.currency ?? currency) === currency ? currency : ""; // Two names: none.
        spend(node, used); fill(item.side, words(used, {}));
      }
      break;
    case "LimitWarned":
      item = row(node, "limit " + p.limit, "warned", `${Object.hasOwn(KINDS, p.limit) ? KINDS[p.limit] : short(p.limit)} nearly used up`, `${amount(p.limit, p.used, true)} of ${amount(p.limit, p.max, true)}`);
      if (Object.hasOwn(KINDS, p.limit)) { node.limits[p.limit] = p.max; spend(node, {}); }
      break;
    case "PauseRequested": node.paused = true; node.el.classList.add("paused"); item = row(node, undefined, "warned", "Pause requested", asked(p)); break;
    case "ResumeRequested": node.paused = false; node.el.classList.remove("paused"); item = row(node, undefined, "", "Resume requested", asked(p)); break;
    case "PlanAdopted": item = row(node, undefined, "", "Taken over by another executor", short(p.reason ?? "")); break;
    case "DecisionMade": item = row(node, undefined, "choice", short(`${p.question} → ${p.chosen}`), short(p.rationale ?? "")); if (p.decided_by !== "rule") fill(item.side, `by ${p.decided_by}`); break;
    case "ArtifactProduced": item = row(node, "file " + p.artifact_id, "file", short(p.name), short(p.media_type)); break;
    case "InputRequested": // What repeats the question of a plan below is shown there.
      if (!p.for_plan_id) { item = row(node, "ask " + p.request_id, "asking", short(p.question), "waits for an answer"); setState(item, tree.asks, "open"); askCard(item, node, p); }
      break;
    case "InputReceived": {
      const found = node.rows.get("ask " + p.request_id), how = { expired: "nobody answered in time", withdrawn: "not needed any more" }[p.outcome];
      if (found) { item = found; closeAsk(item, how ? "failed" : "done", how ?? short(`${p.answered_by}: ${plain(p.value)}`)); }
      break;
    }
    case "CancelRequested": item = row(node, undefined, "failed", "Cancel requested", asked(p)); break;
    default:
      if (event.event_type === "ToolCompleted") node.endRemoved = true; // Of one of its calls nobody can say how it ended.
      item = row(node, undefined, "", event.event_type, known ? short(p) : "its payload was removed");
  }
  keep(item, event, size);
  if (!tree.large && tree.count > LARGE) { tree.large = true; tree.nodes.forEach(fold); }
  draw();
}
/* An open question, with what answers it. It goes when it is answered, here or elsewhere. */
function askCard(item, node, p) {
  // A schema may also be true or false, and none of its words need be what they should.
  const schema = p.schema && typeof p.schema === "object" ? p.schema : {}, choices = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const] : [];
  const card = item.card = make("section", "ask"), controls = make("div"), wrong = make("small", "wrong");
  const give = async value => {
    wrong.textContent = "";
    try {
      const answer = await fetch(`/v1/plans/${node.id}/answer`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ request_id: p.request_id, value, via: "page", arguments_digest: p.arguments_digest }) });
      if (answer.ok) return;
      const problem = await answer.json();
      wrong.textContent = problem.errors?.map(error => `${error.path} ${error.message}`).join("; ") || problem.detail || problem.title;
    } catch { wrong.textContent = "The server cannot be reached. Nobody knows whether the answer arrived: try again."; }
  };
  const button = (text, value, className) => { const el = make("button", className, text); el.onclick = () => give(typeof value === "function" ? value() : value); controls.append(el); };
  if (choices.length) choices.forEach(choice => button(plain(choice), choice));
  else if (p.kind === "approval") { button("Approve", true, "yes"); button("Deny", false); }
  else if (schema.type === "boolean") { button("Yes", true, "yes"); button("No", false); }
  else {
    const input = make("input"), types = [schema.type ?? "string"].flat();
    const typed = () => { if (types.length === 1 && types[0] === "string") return input.value; try { return JSON.parse(input.value); } catch { return input.value; } };
    input.setAttribute("aria-label", p.question); input.placeholder = schema.description ?? (types[0] === "string" ? "" : types.join(" or "));
    input.onkeydown = event => { if (event.key === "Enter") give(typed()); };
    controls.append(input); button("Answer", typed, "yes");
  }
  const until = p.expires_at ? `until ${new Date(p.expires_at).toLocaleString()}` : "";
  card.append(make("b", "", p.question), make("small", "note", [node.name.textContent, p.step, until].filter(Boolean).join("  ·  ")), ...(p.arguments ? [make("pre", "", JSON.stringify(p.arguments, null, 2))] : []), controls, wrong);
  $("asks").append(card);
}
function closeAsk(item, state, note) { setState(item, tree.asks, state); fill(item.note, note); item.card.remove(); item.card = undefined; }
function closeCall(item, state, note) { tree.running.delete(item); setState(item, tree.calls, state); fill(item.side, ""); if (note) fill(item.note, note); }
const asked = p => short([p.requested_by, p.reason].filter(Boolean).join(": "));
async function limitsOf(node) {
  const answer = await fetch(`/v1/plans/${node.id}/document`).catch(() => undefined), limits = answer?.ok ? (await answer.json()).limits : undefined;
  for (const kind in KINDS) if (limits?.[kind] !== undefined) node.limits[kind] ??= Number(limits[kind]);
  draw();
}
let drawing = false;
function draw() { if (!drawing) { drawing = true; requestAnimationFrame(() => { drawing = false; drawNow(); }); } }
function counts(el, label, { open, done, failed, unknown }, limit) {
  el.replaceChildren(make("b", "", String(done)), ` of ${open + done + failed + unknown} ${label}`, ...(failed ? [`, ${failed} failed`] : []), ...(unknown ? [`, ${unknown} not known`] : []), ...(open ? [`, ${open} open`] : []), ...(limit ? [`, limit ${amount("tool_calls", limit, true)}`] : []));
}
function spent(kind, { used, limits }) {
  const el = $(kind), max = limits[kind]; el.hidden = !used[kind]; el.className = level(used[kind], max);
  el.replaceChildren(make("b", "", amount(kind, used[kind], true)), `${max === undefined ? "" : ` of ${amount(kind, max, true)}`} ${unit(kind) || kind}`);
}
function drawNow() {
  const root = tree?.nodes.get(tree.id), { plans, calls } = tree;
  if (!root) return;
  fill($("name"), root.name.textContent); fill($("goal"), root.goal);
  const sum = key => plans[key] + calls[key], all = Math.max(1, sum("open") + sum("done") + sum("failed") + sum("unknown"));
  for (const key of ["done", "failed", "open"]) $("bar-" + key).style.width = `${100 * sum(key) / all}%`;
  $("elapsed").replaceChildren(make("b", "", took((root.ended ?? Date.now()) - root.started)));
  counts($("plans"), "plans", plans); counts($("calls"), "calls", calls, root.limits.tool_calls);
  $("calls").className = level(root.used.tool_calls, root.limits.tool_calls); spent("tokens", root); spent("cost", root);
  fill($("events"), `${tree.count} events`);
  $("asked").hidden = root.state !== "open"; fill($("pause"), root.paused ? "Resume" : "Pause");
  document.title = `${tree.asks.open ? "? " : root.state === "open" ? "▸ " : ""}${root.name.textContent} · Planwire`;
}
setInterval(() => { for (const node of tree?.nodes.values() ?? []) if (node.state === "open") fill(node.time, took(Date.now() - node.started)); for (const call of tree?.running ?? []) fill(call.time, took(Date.now() - call.started)); if (tree) draw(); }, 500);
const ask = what => fetch(`/v1/plans/${tree.id}/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ reason: "asked for on the page" }) });
$("cancel").onclick = () => ask("cancel"); $("pause").onclick = () => ask(tree.nodes.get(tree.id).paused ? "resume" : "pause");
start();
