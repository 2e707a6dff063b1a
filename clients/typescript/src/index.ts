/** Client of Planwire: publish, follow and start plans without losing or doubling an event. */

export { Planwire } from "./client.js";
export type { Answer, Answered, CallOptions, Cancelling, PlanwireOptions, Started, StartRequest } from "./client.js";
export {
  AnswerError,
  ConnectionError,
  EventError,
  GapError,
  LimitError,
  OutcomeUnknownError,
  PartlyPublishedError,
  PlanwireError,
} from "./error.js";
export type {
  CustomEventType,
  Draft,
  DraftOf,
  EventType,
  OwnEventType,
  PayloadOf,
  Place,
  Published,
  StoredEvent,
  StoredEventOf,
} from "./event.js";
export { eventId } from "./event_ids.js";
export type { After, Filter } from "./filter.js";
export { Follow } from "./follow.js";
export type { EndItem, EventItem, FollowItem, FollowOptions, GapItem } from "./follow.js";
export * as limits from "./limits.js";
export type { EventsOptions, EventsPage, PlansOptions, PlansPage } from "./pages.js";
export type * from "./payloads.js";
export type * from "./plan.js";
export { ProblemError } from "./problem.js";
export type { ProblemKind } from "./problem.js";
export type { RetryNote, RetryPolicy } from "./retry.js";
export type { Runtime } from "./runtime.js";
export { Subscription } from "./subscription.js";
export type { Handler, SubscribeOptions } from "./subscription.js";
