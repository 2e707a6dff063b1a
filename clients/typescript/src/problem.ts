/** Answers that are no success: problem+json (RFC 9457). */

import { PlanwireError } from "./error.js";

/** Prefix of the `type` of Planwire's problems. */
const TYPE_PREFIX = "urn:planwire:problem:";

/** Statuses under which the same request may go well later; other servers in between answer with these too. */
const TRANSIENT = [502, 503, 504];

/** What went wrong, as the last part of the problem's `type`. Newer servers may have more. */
export type ProblemKind =
  | "answer-invalid"
  | "body-malformed"
  | "body-too-large"
  | "cursor-beyond-head"
  | "cursor-malformed"
  | "cursor-other-log"
  | "cursor-pruned"
  | "document-invalid"
  | "document-unregistered"
  | "event-conflict"
  | "event-invalid"
  | "event-refused"
  | "event-unknown"
  | "inline-document-refused"
  | "inputs-invalid"
  | "outcome-unknown"
  | "parameter-invalid"
  | "payload-too-large"
  | "plan-ended"
  | "plan-exists"
  | "plan-starting"
  | "plan-unknown"
  | "question-none"
  | "question-unnamed"
  | "shutting-down"
  | "store-busy"
  | "store-exhausted"
  | "store-full"
  | "store-unreachable"
  | "token-refused"
  | "too-many-events"
  | "too-many-plans"
  | "too-many-streams"
  | "writer-stopped"
  | (string & {});

/** The server said no. */
export class ProblemError extends PlanwireError {
  override name = "ProblemError";
  /** The HTTP status. */
  readonly status: number;
  /** What went wrong, in a form that never changes its meaning; empty if the answer is not Planwire's own. */
  readonly kind: ProblemKind;
  /** What went wrong in this case, for people. */
  readonly detail: string;
  /** All members of the problem, as `refusal`, `errors`, `diagnostics`, `max_bytes`. */
  readonly members: Readonly<Record<string, unknown>>;
  /** Milliseconds that the server asks us to wait before the next attempt. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, members: Readonly<Record<string, unknown>>, retryAfterMs?: number) {
    const detail = textOf(members["detail"]) || textOf(members["title"]) || `the server answered with status ${status}`;
    super(detail);
    const type = textOf(members["type"]);
    this.status = status;
    this.kind = type.startsWith(TYPE_PREFIX) ? type.slice(TYPE_PREFIX.length) : "";
    this.detail = detail;
    this.members = members;
    this.retryAfterMs = retryAfterMs;
  }

  /** The event of the request at which it failed, from 0. */
  get index(): number | undefined {
    const index = this.members["index"];
    return typeof index === "number" ? index : undefined;
  }

  /** Why an event may not follow what the log holds, as `plan_ended` or `request_not_open`. */
  get refusal(): string | undefined {
    return textOf(this.members["refusal"]) || undefined;
  }

  /** Whether the same request may go well later. */
  get transient(): boolean {
    return TRANSIENT.includes(this.status);
  }

  /** Whether the request may have been done all the same. */
  get outcomeUnknown(): boolean {
    return this.transient && (this.kind === "" || this.kind === "outcome-unknown");
  }

  /** The same problem of a list in which the event stands at another place. */
  at(index: number): ProblemError {
    const detail = this.detail.replace(`event ${this.index} `, `event ${index} `);
    return new ProblemError(this.status, { ...this.members, detail, index }, this.retryAfterMs);
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
