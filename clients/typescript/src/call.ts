/** One call to publish: its events in pieces that fit into requests, and its promise. */

import { EventError, LimitError, PartlyPublishedError, messageOf } from "./error.js";
import type { Draft, Published } from "./event.js";
import { PENDING_EVENTS_MAX, REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX } from "./limits.js";

/** Bytes around and between the events of a request: `{"events":[..]}`, with a comma after each. */
export const ENVELOPE_BYTES = 16;

/** Events of one call that go into one request together. */
export interface Piece {
  readonly call: Call;
  /** Place of the first event in the call. */
  readonly first: number;
  /** Each event as JSON. */
  readonly texts: string[];
  /** Bytes that they take in a request, with their commas. */
  readonly bytes: number;
  /** Whether an attempt to send it ended without telling whether it is stored. */
  unknown: boolean;
}

/** A call to publish. It settles once; what is published then is all that it ever will be. */
export class Call {
  readonly pieces: Piece[];
  readonly done: Promise<Published[]>;
  settled = false;
  readonly #published: Published[] = [];
  #resolve!: (published: Published[]) => void;
  #reject!: (error: unknown) => void;

  /** Takes the events as they are now; later changes to them change nothing. */
  constructor(events: readonly Draft[]) {
    if (events.length > PENDING_EVENTS_MAX) {
      throw new LimitError(`${events.length} events at once, the limit is ${PENDING_EVENTS_MAX}`, PENDING_EVENTS_MAX);
    }
    this.pieces = cut(this, events);
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** The next piece is stored. */
  stored(published: readonly Published[]): void {
    if (this.settled) return;
    this.#published.push(...published);
    if (this.#published.length < this.pieces.reduce((sum, piece) => sum + piece.texts.length, 0)) return;
    this.settled = true;
    this.#resolve(this.#published);
  }

  /** Nothing more of it will be sent. */
  fail(error: unknown): void {
    if (this.settled) return;
    this.settled = true;
    this.#reject(this.#published.length > 0 ? new PartlyPublishedError(this.#published, error) : error);
  }
}

function cut(call: Call, events: readonly Draft[]): Piece[] {
  const pieces: Piece[] = [];
  let open = { texts: [] as string[], bytes: 0, first: 0 };
  const close = () => {
    if (open.texts.length > 0) pieces.push({ call, unknown: false, ...open });
  };
  events.forEach((event, index) => {
    const text = json(event, index);
    const bytes = new TextEncoder().encode(text).length + 1;
    if (bytes + ENVELOPE_BYTES > REQUEST_BYTES_MAX) {
      throw new LimitError(`event ${index} has ${bytes} bytes, a request has at most ${REQUEST_BYTES_MAX}`, REQUEST_BYTES_MAX);
    }
    if (open.texts.length >= REQUEST_EVENTS_MAX || open.bytes + bytes + ENVELOPE_BYTES > REQUEST_BYTES_MAX) {
      close();
      open = { texts: [], bytes: 0, first: index };
    }
    open.texts.push(text);
    open.bytes += bytes;
  });
  close();
  return pieces;
}

function json(event: Draft, index: number): string {
  try {
    return JSON.stringify(event);
  } catch (error) {
    throw new EventError(`event ${index} cannot be written as JSON: ${messageOf(error)}`, { cause: error });
  }
}
