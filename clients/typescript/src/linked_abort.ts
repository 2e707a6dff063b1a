/** An end that comes from the caller, from us, or from the clock. */

import type { Runtime } from "./runtime.js";

/** Aborts when its caller's signal does, and also when we say so. `AbortSignal.any` is not everywhere yet. */
export class LinkedAbort {
  readonly #own = new AbortController();
  readonly #callers: AbortSignal | undefined;
  readonly #follow: () => void;

  constructor(callers: AbortSignal | undefined) {
    this.#callers = callers;
    this.#follow = () => this.#own.abort(callers?.reason);
    if (callers?.aborted) this.#follow();
    callers?.addEventListener("abort", this.#follow, { once: true });
  }

  get signal(): AbortSignal {
    return this.#own.signal;
  }

  abort(reason: unknown): void {
    this.#own.abort(reason);
  }

  /** Ends what still runs under it, and lets go of the caller's signal. */
  release(): void {
    this.#callers?.removeEventListener("abort", this.#follow);
    this.#own.abort(new DOMException("not needed any more", "AbortError"));
  }
}

/** Calls `late` when it was armed and not disarmed for some milliseconds. */
export class Watchdog {
  #armed: AbortController | undefined;

  constructor(
    readonly runtime: Runtime,
    readonly ms: number,
    readonly late: () => void,
  ) {}

  arm(): void {
    this.disarm();
    const armed = new AbortController();
    this.#armed = armed;
    this.runtime.sleep(this.ms, armed.signal).then(this.late, () => {});
  }

  disarm(): void {
    this.#armed?.abort();
    this.#armed = undefined;
  }
}
