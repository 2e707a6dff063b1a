"use strict";
/* What a row is made of: its newest events, a large one without its payload. */
// Newest events that a row keeps, and characters of an event up to which its payload is kept too: a tab holds large trees.
const EVENTS_MAX = 200, KEPT_MAX = 4096;
// The row whose events the pane shows, and their elements.
let shownIn;
const parts = new Map();
function keep(item, event, size) {
  if (!item.events) return;
  const kept = size > KEPT_MAX ? { ...event, payload: undefined, size } : event;
  item.events.push(kept);
  if (item.events.length > EVENTS_MAX) { item.left++; hide(item, item.events.shift()); }
  if (shownIn === item) part(item, kept);
}
// Takes away the events of a type, of which the next one says more.
function forget(item, type) { if (item.events) item.events = item.events.filter(kept => kept.event_type !== type || hide(item, kept)); }
// An event may stand in another row too, whose pane it does not leave.
function hide(item, event) { if (shownIn === item) { parts.get(event)?.remove(); parts.delete(event); } }
function detail(item, name) {
  closeDetail();
  shownIn = item; item.el.classList.add("picked"); document.body.classList.add("detail");
  const close = make("button", "close", "Close"); close.onclick = closeDetail;
  $("detail").append(close, make("h3", "", name), make("p", "note"));
  for (const event of item.events) part(item, event);
}
function part(item, event) {
  const box = make("section"), list = make("dl");
  for (const [term, text] of [["type", event.event_type], ["time", event.timestamp], ["position", `${event.position}, number ${event.seq} of its plan`], ["event", event.event_id], ["plan", event.plan_id]]) list.append(make("dt", "", term), make("dd", "", text));
  box.append(list); parts.set(event, box); $("detail").append(box);
  if (event.payload) content(box, event); else later(box, event);
  fill($("detail").querySelector("p"), item.left ? `${item.left} events before these are not kept here: planwire events --plan ${item.id ?? event.plan_id}` : "");
}
function content(box, event) {
  const blob = event.event_type === "ArtifactProduced" && event.payload.part?.blob;
  box.append(make("pre", "", JSON.stringify(event.payload, null, 2)));
  if (blob) { const link = make("a", "", "Download"); link.href = `/v1/plans/${event.plan_id}/blobs/${encodeURIComponent(blob.digest)}`; box.append(link); }
}
function later(box, event) {
  const more = make("button", "more", `Show its payload (${event.size} characters)`);
  more.onclick = async () => {
    const answer = await fetch(`/v1/events/${event.event_id}`).catch(() => undefined);
    if (answer?.ok) { const whole = await answer.json(); more.remove(); content(box, whole); } else fill(more, "The server did not give it: try again");
  };
  box.append(more);
}
function closeDetail() { shownIn?.el.classList.remove("picked"); shownIn = undefined; parts.clear(); $("detail").replaceChildren(); document.body.classList.remove("detail"); }
addEventListener("keydown", event => { if (event.key === "Escape") closeDetail(); });
