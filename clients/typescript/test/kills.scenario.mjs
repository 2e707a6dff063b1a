// What a program does while its server is killed again and again: it publishes and it follows. The same code runs in
// Node and, injected into a page, in a browser; so it imports nothing.

/** Calls to publish that are open at a time. */
const WRITERS = 4;

/**
 * Publishes events of one plan until `enough` says so, and follows the plan from another client.
 * `told(acknowledged, followed)` is called on progress and says whether to go on.
 */
export async function publishAndFollow(Planwire, url, planId, told) {
  let repeated = 0;
  const publisher = new Planwire(url, { retry: { mostMs: 500 }, onRetry: () => repeated++ });
  const reader = new Planwire(url);
  await publisher.publish({ event_type: "PlanStarted", plan_id: planId, payload: { name: "kills" } });
  const seen = [];
  const acknowledged = [];
  let duplicates = 0;
  let published = 0;
  let go = true;
  const progress = async () => {
    go = (await told(acknowledged.length, seen.length)) && go;
  };
  const following = (async () => {
    for await (const item of reader.follow({ planId })) {
      if (item.kind === "gap") throw new Error("a gap");
      if (item.kind === "event") seen.push({ id: item.event.event_id, number: item.event.payload.number, seq: item.event.seq });
      if (item.kind === "event" && seen.length % 10 === 0) await progress();
    }
  })();
  const writer = async () => {
    while (go) {
      const many = 1 + (published % 3);
      const events = Array.from({ length: many }, () => ({ event_type: "acme.note", plan_id: planId, payload: { number: ++published } }));
      for (const place of await publisher.publishAll(events)) {
        acknowledged.push(place.event_id);
        if (place.duplicate) duplicates++;
      }
      await progress();
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
  await publisher.publish({ event_type: "PlanCompleted", plan_id: planId });
  await following;
  return { published, acknowledged, seen, repeated, duplicates };
}
