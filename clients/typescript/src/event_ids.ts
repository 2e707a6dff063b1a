/** Names of events. */

import { SYSTEM } from "./runtime.js";
import type { Runtime } from "./runtime.js";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ID_CHARS = 26;
/** Bits of a ULID below its 48 bits of milliseconds. */
const RANDOM_BITS = 80n;

/** Makes ULIDs that rise within a millisecond and when the clock goes back. */
export class EventIds {
  readonly #runtime: Pick<Runtime, "now" | "fillRandom">;
  #last = -1n;

  constructor(runtime: Pick<Runtime, "now" | "fillRandom">) {
    this.#runtime = runtime;
  }

  /** The next id, greater than all before it. */
  next(): string {
    const millis = BigInt(Math.max(0, Math.floor(this.#runtime.now())));
    this.#last = millis <= this.#last >> RANDOM_BITS ? this.#last + 1n : (millis << RANDOM_BITS) | this.#random();
    return text(this.#last);
  }

  #random(): bigint {
    const bytes = new Uint8Array(10);
    this.#runtime.fillRandom(bytes);
    // The top bit stays clear: within a millisecond there is room for 2^79 successors.
    return bytes.reduce((bits, byte, at) => (bits << 8n) | BigInt(at === 0 ? byte & 0x7f : byte), 0n);
  }
}

function text(bits: bigint): string {
  let id = "";
  for (let at = 0; at < ID_CHARS; at++) {
    id = ALPHABET.charAt(Number(bits & 31n)) + id;
    bits >>= 5n;
  }
  return id;
}

/** One generator for all clients of a process keeps ids near in time, which keeps the index on them cheap. */
const SHARED = new EventIds(SYSTEM);

/**
 * Makes an event id: a ULID, greater than all that this process made before. Give it to an event yourself if the event
 * may have to be published again by another process.
 */
export function eventId(): string {
  return SHARED.next();
}
