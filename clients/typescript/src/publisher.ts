/** Publishing: one request at a time, in the order of the calls, under the same ids until the outcome is known. */

import { Call, ENVELOPE_BYTES } from "./call.js";
import type { Piece } from "./call.js";
import { AnswerError, LimitError, OutcomeUnknownError, PlanwireError, messageOf } from "./error.js";
import type { Draft, Published } from "./event.js";
import { PENDING_BYTES_MAX, PENDING_EVENTS_MAX, REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX } from "./limits.js";
import { LinkedAbort } from "./linked_abort.js";
import { ProblemError } from "./problem.js";
import { Retry, isOutcomeUnknown, isTransient } from "./retry.js";
import type { Transport } from "./transport.js";

/**
 * The queue of a client's events. Calls that wait while a request is on its way share the next one. **Invariant:** a
 * request that may have been done is repeated as it was before anything else is sent.
 */
export class Publisher {
  readonly #transport: Transport;
  readonly #makeId: () => string;
  #queue: Piece[] = [];
  #waiting = { events: 0, bytes: 0 };
  #pump: Promise<void> | undefined;
  /** What is on its way, and how to stop it. */
  #flight: { pieces: Piece[]; abort: LinkedAbort } | undefined;

  constructor(transport: Transport, makeId: () => string) {
    this.#transport = transport;
    this.#makeId = makeId;
  }

  /** Stores the events in their order and gives their places. */
  async publish(events: readonly Draft[], signal?: AbortSignal): Promise<Published[]> {
    signal?.throwIfAborted();
    if (events.length === 0) return [];
    const timestamp = new Date(this.#transport.config.runtime.now()).toISOString();
    const call = new Call(events.map(event => ({ ...event, event_id: event.event_id ?? this.#makeId(), timestamp: event.timestamp ?? timestamp })));
    this.#admit(call);
    const stop = () => this.#withdraw(call, signal?.reason);
    signal?.addEventListener("abort", stop, { once: true });
    this.#pump ??= this.#run();
    try {
      return await call.done;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Resolves when nothing waits any more, well or badly. */
  async flush(): Promise<void> {
    await this.#pump;
  }

  #admit(call: Call): void {
    const events = sum(call.pieces, piece => piece.texts.length);
    const bytes = sum(call.pieces, piece => piece.bytes);
    if (this.#waiting.events + events > PENDING_EVENTS_MAX) {
      throw new LimitError(`more than ${PENDING_EVENTS_MAX} events wait to be published`, PENDING_EVENTS_MAX);
    }
    if (this.#waiting.bytes + bytes > PENDING_BYTES_MAX) {
      throw new LimitError(`more than ${PENDING_BYTES_MAX} bytes wait to be published`, PENDING_BYTES_MAX);
    }
    this.#waiting.events += events;
    this.#waiting.bytes += bytes;
    this.#queue.push(...call.pieces);
  }

  #leave(pieces: readonly Piece[]): void {
    this.#waiting.events -= sum(pieces, piece => piece.texts.length);
    this.#waiting.bytes -= sum(pieces, piece => piece.bytes);
  }

  async #run(): Promise<void> {
    // The caller's turn ends first: what it publishes without waiting goes along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const pieces = this.#next();
      await this.#deliver(pieces);
      this.#leave(pieces);
    }
    this.#pump = undefined;
  }

  /** Takes as many whole pieces as fit into a request. */
  #next(): Piece[] {
    let [count, events, bytes] = [0, 0, ENVELOPE_BYTES];
    for (const piece of this.#queue) {
      events += piece.texts.length;
      bytes += piece.bytes;
      if (count > 0 && (events > REQUEST_EVENTS_MAX || bytes > REQUEST_BYTES_MAX)) break;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** Sends pieces until each of their calls knows what became of it. */
  async #deliver(pieces: Piece[]): Promise<void> {
    const { runtime, retry: policy, onRetry } = this.#transport.config;
    const abort = new LinkedAbort(undefined);
    const retry = new Retry(runtime, policy, "publish", onRetry);
    for (;;) {
      pieces = pieces.filter(piece => !piece.call.settled);
      if (pieces.length === 0) break;
      this.#flight = { pieces, abort };
      try {
        await this.#send(pieces, abort.signal);
        break;
      } catch (error) {
        if (isOutcomeUnknown(error)) for (const piece of pieces) piece.unknown = true;
        if (isTransient(error)) {
          await retry.again(error, abort.signal).catch((last: unknown) => this.#giveUp(pieces, last));
          continue;
        }
        const culprit = error instanceof ProblemError ? this.#refuse(pieces, error) : undefined;
        if (culprit !== undefined) continue;
        if (pieces.length === 1 || !(error instanceof ProblemError)) this.#giveUp(pieces, error);
        else for (const piece of pieces) await this.#deliver([piece]);
        break;
      }
    }
    this.#flight = undefined;
    abort.release();
  }

  async #send(pieces: readonly Piece[], signal: AbortSignal): Promise<void> {
    const body = `{"events":[${pieces.flatMap(piece => piece.texts).join(",")}]}`;
    const answer = await this.#transport.once({ method: "POST", path: "v1/events", body }, signal);
    const published = places(answer, sum(pieces, piece => piece.texts.length));
    let at = 0;
    for (const piece of pieces) {
      piece.call.stored(published.slice(at, at + piece.texts.length));
      at += piece.texts.length;
    }
  }

  /** Fails the call whose event was refused; the others of the request are innocent. None if the answer names none. */
  #refuse(pieces: readonly Piece[], problem: ProblemError): Piece | undefined {
    let left = problem.index ?? Number.POSITIVE_INFINITY;
    for (const piece of pieces) {
      if (left < piece.texts.length) {
        piece.call.fail(problem.at(piece.first + left));
        return piece;
      }
      left -= piece.texts.length;
    }
    return undefined;
  }

  #giveUp(pieces: readonly Piece[], error: unknown): void {
    for (const piece of pieces) {
      const unknown = piece.unknown || error instanceof AnswerError || !(error instanceof PlanwireError);
      // A refusal is certain, whatever was tried before: what is stored is never refused.
      const certain = error instanceof ProblemError && !error.transient;
      piece.call.fail(unknown && !certain ? unknownOf(piece, error) : error);
    }
  }

  /** The caller wants no more of it. */
  #withdraw(call: Call, reason: unknown): void {
    const sent = this.#flight?.pieces.find(piece => piece.call === call) ?? call.pieces.find(piece => piece.unknown);
    const waiting = this.#queue.filter(piece => piece.call === call);
    this.#queue = this.#queue.filter(piece => piece.call !== call);
    this.#leave(waiting);
    call.fail(sent === undefined ? reason : unknownOf(sent, reason));
    if (this.#flight?.pieces.every(piece => piece.call.settled)) this.#flight.abort.abort(reason);
  }
}

/** Of a piece whose outcome is unknown, and of what its call still had to send after it. */
function unknownOf(piece: Piece, cause: unknown): OutcomeUnknownError {
  const { pieces } = piece.call;
  const texts = pieces.slice(pieces.indexOf(piece)).flatMap(left => left.texts);
  const events = texts.map(text => JSON.parse(text) as Draft);
  return new OutcomeUnknownError(`it is not known whether the events are stored: ${messageOf(cause)}`, events, { cause });
}

function places(answer: Uint8Array, count: number): Published[] {
  let events: unknown;
  try {
    events = (JSON.parse(new TextDecoder().decode(answer)) as { events?: unknown } | null)?.events;
  } catch {
    // Said below.
  }
  if (Array.isArray(events) && events.length === count) return events as Published[];
  throw new AnswerError("the answer to a publish request does not name the places of its events");
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
