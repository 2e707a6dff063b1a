/** Lists that come in pages. */

import type { EventType, StoredEventOf } from "./event.js";
import { queryOf } from "./filter.js";
import type { After, Filter } from "./filter.js";
import type { PlanRow, PlanStateName } from "./plan.js";
import type { Transport } from "./transport.js";

/** Which plans. Roots, newest first, if nothing is said. */
export interface PlansOptions {
  /** Only plans that stand so. */
  state?: PlanStateName;
  /** `false` lists subplans too. Not together with `tree`. */
  roots?: boolean;
  /** Only this plan and all below it, oldest first. */
  tree?: string;
  /** A `next` of an earlier page: where to go on. */
  after?: string;
  /** Plans of one request, at most 1,000; 100 if left out. */
  limit?: number;
  signal?: AbortSignal;
}

/** A page of plans. It may be short or empty although more follow. */
export interface PlansPage {
  plans: PlanRow[];
  /** Where the next page begins; `null` after the last. */
  next: string | null;
}

/** Which events, and from where. */
export interface EventsOptions<T extends EventType = EventType> extends Filter<T> {
  /** Where to begin; with the first event if left out. */
  after?: After;
  /** Events of one request, at most 1,000; 100 if left out. */
  limit?: number;
  signal?: AbortSignal;
}

/** A page of events. It may be short or empty although more follow. */
export interface EventsPage<T extends EventType = EventType> {
  events: StoredEventOf<T>[];
  /** Where the next page begins. */
  next: string;
  /** Whether nothing more was stored when the page was made. */
  at_head: boolean;
  /** Whether the plan or tree has ended, so that nothing more will come. */
  ended: boolean;
}

/** One page of plans. */
export async function plansPage(transport: Transport, options: PlansOptions): Promise<PlansPage> {
  const query: Array<readonly [string, string]> = [];
  if (options.state !== undefined) query.push(["state", options.state]);
  if (options.roots !== undefined) query.push(["roots", String(options.roots)]);
  if (options.tree !== undefined) query.push(["tree", options.tree]);
  if (options.after !== undefined) query.push(["after", options.after]);
  if (options.limit !== undefined) query.push(["limit", String(options.limit)]);
  return (await transport.json({ method: "GET", path: "v1/plans", query }, options.signal)) as PlansPage;
}

/** All plans, page by page. */
export async function* plans(transport: Transport, options: PlansOptions): AsyncGenerator<PlanRow, void, undefined> {
  for (let after = options.after; ; ) {
    const page = await plansPage(transport, after === undefined ? options : { ...options, after });
    yield* page.plans;
    if (page.next === null) return;
    after = page.next;
  }
}

/** One page of events. */
export async function eventsPage<T extends EventType>(transport: Transport, options: EventsOptions<T>): Promise<EventsPage<T>> {
  const query = queryOf(options);
  if (options.after !== undefined) query.push(["after", options.after]);
  if (options.limit !== undefined) query.push(["limit", String(options.limit)]);
  return (await transport.json({ method: "GET", path: "v1/events", query }, options.signal)) as EventsPage<T>;
}

/** All events up to the end of the log, page by page. */
export async function* events<T extends EventType>(
  transport: Transport,
  options: EventsOptions<T>,
): AsyncGenerator<StoredEventOf<T>, void, undefined> {
  for (let after = options.after ?? "start"; ; ) {
    const page = await eventsPage(transport, { ...options, after });
    yield* page.events;
    if (page.at_head) return;
    after = page.next;
  }
}
