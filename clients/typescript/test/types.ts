// Compiled, never run: what the types promise.
import { Planwire } from "planwire";
import type { Draft, DraftOf, StoredEvent, StoredEventOf } from "planwire";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const yes = <T extends true>(): T | void => {};

export function narrowed(event: StoredEvent): void {
  switch (event.event_type) {
    case "ToolCalled":
      yes<Same<typeof event.payload.tool, string>>();
      yes<Same<typeof event.payload.attempt, number | undefined>>();
      // Fields that no type names are kept.
      yes<Same<(typeof event.payload)["x-team"], unknown>>();
      break;
    case "InputRequested":
      yes<Same<typeof event.payload.kind, "input" | "approval" | "auth">>();
      break;
    case "acme.hit":
      yes<Same<(typeof event.payload)[string], unknown>>();
      break;
    default:
      yes<Same<typeof event.seq, number>>();
  }
}

export const drafts: Draft[] = [
  { event_type: "PlanStarted", plan_id: "p", payload: { name: "n", anything: [1] } },
  { event_type: "PlanCompleted", plan_id: "p" },
  { event_type: "acme.hit", plan_id: "p", payload: { a: 1 } },
  // @ts-expect-error: a type without a dot is ours
  { event_type: "Unknown", plan_id: "p" },
  // @ts-expect-error: the payload has required fields
  { event_type: "ToolCalled", plan_id: "p" },
  // @ts-expect-error: of other types
  { event_type: "ToolCalled", plan_id: "p", payload: { call_id: 1, tool: "t" } },
];

/** An event that was read can be published again as it is. */
export const again = (event: StoredEvent): Draft => event;

export async function filtered(planwire: Planwire): Promise<void> {
  for await (const item of planwire.follow({ eventTypes: ["ToolCalled", "acme.hit"] })) {
    if (item.kind === "event") yes<Same<typeof item.event, StoredEventOf<"ToolCalled" | "acme.hit">>>();
    else if (item.kind === "gap") yes<Same<typeof item.firstKept, string | null>>();
  }
  planwire.subscribe(event => yes<Same<typeof event, StoredEvent>>());
  for await (const event of planwire.events({ eventTypes: ["PlanFailed"] })) {
    yes<Same<typeof event.payload.error.code, string>>();
  }
  const draft: DraftOf<"CancelRequested"> = { event_type: "CancelRequested", plan_id: "p", payload: { requested_by: "ann" } };
  await planwire.publish(draft, { signal: new AbortController().signal });
}
