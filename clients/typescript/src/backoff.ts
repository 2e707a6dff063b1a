/** How long to wait before a repetition. */

import { ASKED_WAIT_MAX_MS } from "./limits.js";

/** Waits that double up to a limit, with half of each left to chance, so that a crowd does not come at once. */
export class Backoff {
  #attempt = 0;

  constructor(
    readonly random: () => number,
    readonly mostMs: number,
    public firstMs: number,
  ) {}

  /** The next wait in milliseconds; at least as long as the server asked for. */
  next(askedMs: number): number {
    const span = Math.min(this.mostMs, this.firstMs * 2 ** Math.min(this.#attempt++, 30));
    const wait = Math.ceil(span / 2 + (span / 2) * this.random());
    return Math.max(wait, Math.min(askedMs, ASKED_WAIT_MAX_MS));
  }

  /** Something went well: the next wait is the shortest again. */
  reset(): void {
    this.#attempt = 0;
  }
}
