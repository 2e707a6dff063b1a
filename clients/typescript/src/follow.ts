/** Following: events as they are stored, each exactly once, across cuts and restarts of the server. */

import { AnswerError, ConnectionError, PlanwireError, messageOf } from "./error.js";
import type { EventType, StoredEventOf } from "./event.js";
import { queryOf } from "./filter.js";
import type { After, Filter } from "./filter.js";
import { LinkedAbort, Watchdog } from "./linked_abort.js";
import { ProblemError } from "./problem.js";
import { Retry, isTransient } from "./retry.js";
import { SseParser } from "./sse.js";
import type { Frame } from "./sse.js";
import type { Transport } from "./transport.js";

/** What to follow, and from where. */
export interface FollowOptions<T extends EventType = EventType> extends Filter<T> {
  /** Where to begin; with the first event if left out. */
  after?: After;
  /** Ends it: the iteration throws the signal's reason. */
  signal?: AbortSignal;
  /** Milliseconds of silence after which the connection counts as cut; 10,000 if left out. Heartbeats come every 3,000. */
  silenceMs?: number;
  /** Milliseconds of failing to connect after which the last failure is thrown; if left out, it tries for ever. */
  giveUpAfterMs?: number;
}

/** An event. */
export interface EventItem<T extends EventType = EventType> {
  kind: "event";
  event: StoredEventOf<T>;
  /** The cursor of the event: following on `after` it gives what comes next. */
  cursor: string;
}

/** Retention has removed events before they could be followed. What is kept and was not yet given comes next. */
export interface GapItem {
  kind: "gap";
  /** The cursor after which events are missing; `null` for the start. */
  requested: string | null;
  /** Where what is kept begins, if the server says so. */
  firstKept: string | null;
}

/** The plan, or the tree, has ended; nothing follows, and the iteration ends. */
export interface EndItem {
  kind: "end";
  /** The plan that was named by the filter. */
  planId: string | null;
  /** The cursor of the end, if the server named one. */
  cursor: string | null;
}

/** What following gives. */
export type FollowItem<T extends EventType = EventType> = EventItem<T> | GapItem | EndItem;

/**
 * One place in the log that moves on. Iterate it once; iterated again, it goes on after the last item that it gave.
 *
 * The iteration throws a {@link ProblemError} where trying again is no use (an unknown plan, a cursor of another log), an
 * {@link AnswerError} where something else than Planwire answers, and the reason of the signal. Cuts, restarts, silence
 * and 503 are not thrown: it connects again after its last cursor. Nothing is read ahead beyond one piece of the
 * stream, so a slow reader costs nobody anything.
 */
export class Follow<T extends EventType = EventType> implements AsyncIterable<FollowItem<T>> {
  readonly #transport: Transport;
  readonly #options: FollowOptions<T>;
  readonly #query: Array<readonly [string, string]>;
  readonly #silenceMs: number;
  /** Where the next connection begins. */
  #resume: After;
  /** The last cursor that was given to the caller; nothing at or before it is given again. */
  #given: string | null = null;
  /** After a gap the server begins with all that it keeps, so some of it may have been given before. */
  #afterGap = false;
  #connected = false;
  #begin!: () => void;

  /**
   * Fulfilled when its place in the log is fixed: what is stored from then on will be given, also with `after: "now"`.
   * Never rejected, and fulfilled too when the iteration ends before; nothing happens before it is iterated.
   */
  readonly opened: Promise<void> = new Promise(resolve => (this.#begin = resolve));

  /** @internal */
  constructor(transport: Transport, options: FollowOptions<T>, silenceMs: number) {
    this.#transport = transport;
    this.#options = options;
    this.#query = queryOf(options);
    this.#silenceMs = options.silenceMs ?? silenceMs;
    this.#resume = options.after ?? "start";
    if (this.#resume !== "start" && this.#resume !== "now") this.#given = this.#resume;
  }

  /** Everything up to here was given, or looked at and not asked for. `null` as long as no cursor is known. */
  get cursor(): string | null {
    return this.#given;
  }

  /** Whether a connection is open, as far as is known. */
  get connected(): boolean {
    return this.#connected;
  }

  /** The items; see {@link Follow}. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FollowItem<T>, void, undefined> {
    const { runtime, retry: policy, onRetry } = this.#transport.config;
    const giveUpAfterMs = this.#options.giveUpAfterMs ?? Number.POSITIVE_INFINITY;
    const retry = new Retry(runtime, { ...policy, giveUpAfterMs }, "follow", onRetry);
    const abort = new LinkedAbort(this.#options.signal);
    try {
      for (;;) {
        let cut: PlanwireError = new ConnectionError("the stream ended before its end was told", true);
        try {
          for await (const item of this.#connection(retry, abort)) {
            yield item;
            if (item.kind === "end") return;
          }
        } catch (error) {
          if (error instanceof ProblemError && error.kind === "cursor-pruned") {
            yield* this.#gap(typeof error.members["pruned_to"] === "string" ? error.members["pruned_to"] : null);
          } else if (!isTransient(error)) {
            throw error;
          }
          cut = error as PlanwireError;
        } finally {
          this.#connected = false;
        }
        await retry.again(cut, abort.signal);
      }
    } finally {
      this.#begin();
      abort.release();
    }
  }

  /** What one connection gives until it is cut. */
  async *#connection(retry: Retry, outer: LinkedAbort): AsyncGenerator<FollowItem<T>, void, undefined> {
    const abort = new LinkedAbort(outer.signal);
    const silent = () => abort.abort(new ConnectionError(`the server was silent for ${this.#silenceMs} ms`, true));
    const watchdog = new Watchdog(this.#transport.config.runtime, this.#silenceMs, silent);
    try {
      watchdog.arm();
      const response = await this.#open(abort.signal);
      if (response.status === 204) {
        yield { kind: "end", planId: this.#options.planId ?? null, cursor: this.#given };
        return;
      }
      const reader = bodyOf(response);
      const parser = new SseParser();
      for (;;) {
        watchdog.arm();
        const bytes = await chunk(reader, abort.signal);
        // The caller may take as long as it likes with what it gets.
        watchdog.disarm();
        if (bytes === undefined) return;
        for (const frame of parser.take(bytes)) yield* this.#take(frame, retry);
      }
    } finally {
      watchdog.disarm();
      abort.release();
    }
  }

  #open(signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    const query = [...this.#query];
    if (this.#resume === "start" || this.#resume === "now") query.push(["after", this.#resume]);
    else headers["last-event-id"] = this.#resume;
    return this.#transport.open({ method: "GET", path: "v1/events", query, headers }, signal);
  }

  *#take(frame: Frame, retry: Retry): Generator<FollowItem<T>, void, undefined> {
    if (!this.#connected) {
      this.#connected = true;
      this.#begin();
      retry.succeeded();
    }
    if (frame.retryMs !== undefined) retry.askedMs = frame.retryMs;
    if (frame.event === "gap") {
      const told = parsed(frame.data) as { first_kept?: unknown };
      yield* this.#gap(typeof told.first_kept === "string" ? told.first_kept : null);
      return;
    }
    const cursor = frame.id ?? null;
    if (frame.event === "end") {
      this.#given = this.#resume = cursor ?? this.#given ?? this.#resume;
      yield { kind: "end", planId: this.#options.planId ?? null, cursor: this.#given };
    } else if (this.#isNew(cursor) && frame.data !== "") {
      if (cursor === null) throw new AnswerError("an event of the stream has no cursor");
      yield { kind: "event", event: parsed(frame.data) as StoredEventOf<T>, cursor };
    }
  }

  /** Moves to a cursor of the stream; whether it lies behind all that was given. */
  #isNew(cursor: string | null): boolean {
    if (cursor === null) return true;
    this.#resume = cursor;
    if (this.#given !== null) {
      if (logOf(cursor) !== logOf(this.#given)) throw new AnswerError(`cursor ${cursor} belongs to another log than ${this.#given}`);
      if (cursor <= this.#given) return false;
    }
    this.#given = cursor;
    this.#afterGap = false;
    return true;
  }

  /** What is kept comes again from its start; what was given already is passed over. */
  *#gap(firstKept: string | null): Generator<GapItem, void, undefined> {
    const requested = this.#given ?? (this.#resume === "start" || this.#resume === "now" ? null : this.#resume);
    this.#given = requested;
    this.#resume = "start";
    if (this.#afterGap) return;
    this.#afterGap = true;
    yield { kind: "gap", requested, firstKept };
  }
}

function bodyOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream") || response.body === null) {
    throw new AnswerError(`a stream of events was asked for and '${type}' came`);
  }
  return response.body.getReader();
}

async function chunk(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return (await reader.read()).value;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw new ConnectionError(`the stream was cut: ${messageOf(error)}`, true, { cause: error });
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data) as unknown;
  } catch (error) {
    throw new AnswerError(`a frame of the stream is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

/** A cursor names its log first. */
function logOf(cursor: string): string {
  return cursor.slice(0, cursor.lastIndexOf("-"));
}
