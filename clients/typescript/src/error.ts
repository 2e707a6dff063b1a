/** Why something did not work, as types. */

import type { Draft, Published } from "./event.js";

/** Any failure of this client. An aborted signal is none: what it ends rejects with the signal's own reason. */
export class PlanwireError extends Error {
  override name = "PlanwireError";
}

/** There was no answer, or it broke off. */
export class ConnectionError extends PlanwireError {
  override name = "ConnectionError";

  constructor(
    message: string,
    /** Whether the server may have got the request. Only where it certainly did not is this false. */
    readonly maybeSent: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The answer is none that Planwire gives: the address leads to something else, or something stands in between. */
export class AnswerError extends PlanwireError {
  override name = "AnswerError";
}

/** Something is larger or more than is allowed; nothing was sent. */
export class LimitError extends PlanwireError {
  override name = "LimitError";

  constructor(
    message: string,
    /** What is allowed, in the unit that the message names. */
    readonly max: number,
  ) {
    super(message);
  }
}

/** An event cannot be written as JSON; nothing was sent. */
export class EventError extends PlanwireError {
  override name = "EventError";
}

/**
 * It is not known whether it was done. The repetitions were given up, or the signal was aborted while the request was
 * on its way.
 */
export class OutcomeUnknownError extends PlanwireError {
  override name = "OutcomeUnknownError";

  constructor(
    message: string,
    /**
     * What may be stored or not, and what of the same call was still to be sent, with its event ids: publishing exactly
     * these again is safe at any time and finishes the call. Empty if no events were published.
     */
    readonly events: Draft[],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A list that needed several requests ended in the middle: the first events are stored, `cause` says what came then. */
export class PartlyPublishedError extends PlanwireError {
  override name = "PartlyPublishedError";

  constructor(
    /** Those that are stored, in order: the first of the list. */
    readonly published: Published[],
    cause: unknown,
  ) {
    super(`the first ${published.length} events are stored, then: ${messageOf(cause)}`, { cause });
  }
}

/** Retention has removed events that a subscription without `onGap` was still to get. */
export class GapError extends PlanwireError {
  override name = "GapError";

  constructor(
    /** The cursor after which events are missing. */
    readonly requested: string | null,
    /** Where what is kept begins, if the server says so. */
    readonly firstKept: string | null,
  ) {
    super(`events after ${requested ?? "the start"} were removed by retention`);
  }
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
