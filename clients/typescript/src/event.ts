/** Events: what a publisher sends, what a reader gets, and where an event stands. */

import type { Open, Payloads } from "./payloads.js";

/** A type of Planwire itself. */
export type OwnEventType = keyof Payloads;

/** A type of your own: it has a dot, at most 128 characters of `A-Z a-z 0-9 _ - .`, and begins with a letter. */
export type CustomEventType = `${string}.${string}`;

/** Any event type. */
export type EventType = OwnEventType | CustomEventType;

/** The payload of a type; of a custom one, any object. */
export type PayloadOf<T extends EventType> = T extends OwnEventType ? Payloads[T] : Open;

/** What a publisher may say of an event beside its payload. */
interface DraftHead<T extends EventType> {
  /** The type. */
  event_type: T;
  /** The plan: 1 to 128 characters of `A-Z a-z 0-9 _ -`. */
  plan_id: string;
  /** A ULID; the client makes one if it is left out. The same id is stored once, however often it is sent. */
  event_id?: string;
  /** When it happened, RFC 3339; the client's clock if it is left out. */
  timestamp?: string;
  /** W3C Trace Context, 55 characters. */
  traceparent?: string;
}

type PayloadMember<P> = {} extends P ? { payload?: P } : { payload: P };

/** An event of one type as its publisher sends it; a payload has at most 256 KiB and 64 levels. */
export type DraftOf<T extends EventType> = T extends EventType ? DraftHead<T> & PayloadMember<PayloadOf<T>> : never;

/** An event as its publisher sends it: a union that `event_type` tells apart. */
export type Draft = DraftOf<EventType>;

/** Where an event stands, and what the log says of it. */
export interface Place {
  /** 1, 2, 3 ... in its log, without gaps. */
  position: number;
  /** Hand it back to go on after this event. Opaque; sorts as text within a log. */
  cursor: string;
  /** 1, 2, 3 ... in its plan, without gaps. */
  seq: number;
}

interface StoredHead<T extends EventType> extends Place {
  event_id: string;
  event_type: T;
  plan_id: string;
  /** RFC 3339 in UTC with microseconds, by the publisher's clock. */
  timestamp: string;
  /** The root of the tree. */
  root_plan_id: string;
  /** The plan that spawned this one; `null` at the root. */
  parent_plan_id: string | null;
  /** 0 at the root. */
  depth: number;
  /** When the log took it. */
  recorded_at: string;
}

/** An event of one type as readers get it. */
export type StoredEventOf<T extends EventType> = T extends EventType
  ? StoredHead<T> & { payload: PayloadOf<T> }
  : never;

/**
 * An event as readers get it: a union that `event_type` tells apart. A server that is newer than this client may send
 * further types, which come through as they are: end a `switch` with `default`.
 */
export type StoredEvent = StoredEventOf<EventType>;

/** The answer to a published event: it is on disk. */
export interface Published extends Place {
  event_id: string;
  /** Whether it was stored already; then the place is that of the first time. */
  duplicate: boolean;
}
