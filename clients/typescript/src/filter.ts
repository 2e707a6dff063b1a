/** Which events a reader wants. */

import { LimitError } from "./error.js";
import type { EventType } from "./event.js";
import { FILTER_TYPES_MAX } from "./limits.js";

/** Which events; without any member, all of the log. */
export interface Filter<T extends EventType = EventType> {
  /** Only this plan. */
  planId?: string;
  /** Also all plans below `planId`, those included that start later. */
  tree?: boolean;
  /** Only these types, at most 64; an empty list is no filter. */
  eventTypes?: readonly T[];
}

/** Where to begin: with the first event, with what comes from now on, or after a cursor. */
export type After = "start" | "now" | (string & {});

/** The filter as a query of `v1/events`. */
export function queryOf(filter: Filter): Array<readonly [string, string]> {
  const types = filter.eventTypes ?? [];
  if (types.length > FILTER_TYPES_MAX) {
    throw new LimitError(`${types.length} event types in a filter, the limit is ${FILTER_TYPES_MAX}`, FILTER_TYPES_MAX);
  }
  const query: Array<readonly [string, string]> = types.map(type => ["event_type", type]);
  if (filter.planId !== undefined) query.push(["plan_id", filter.planId]);
  if (filter.tree === true) query.push(["tree", "true"]);
  return query;
}
