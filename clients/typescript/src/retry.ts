/** Repetitions: when, how often, and when to stop. */

import { Backoff } from "./backoff.js";
import { ConnectionError, PlanwireError } from "./error.js";
import { ProblemError } from "./problem.js";
import type { Runtime } from "./runtime.js";

/** How requests are repeated. */
export interface RetryPolicy {
  /** Milliseconds before the first repetition, at most; they double from one to the next. */
  firstMs: number;
  /** Milliseconds between two repetitions, at most, unless the server asks for more. */
  mostMs: number;
  /** Milliseconds after which the last failure is thrown instead; `Infinity` goes on for ever. */
  giveUpAfterMs: number;
}

/** A failure after which the client tries again. */
export interface RetryNote {
  /** What is tried: `publish`, `follow`, or the request. */
  what: string;
  /** Failures in a row, this one included. */
  failures: number;
  /** Milliseconds until the next attempt. */
  delayMs: number;
  /** What went wrong. */
  error: PlanwireError;
}

/** One thing that is tried until it works. */
export class Retry {
  readonly #backoff: Backoff;
  #failures = 0;
  #since: number;
  #askedMs = 0;

  constructor(
    readonly runtime: Runtime,
    readonly policy: RetryPolicy,
    readonly what: string,
    readonly note: ((note: RetryNote) => void) | undefined,
  ) {
    this.#backoff = new Backoff(() => runtime.random(), policy.mostMs, policy.firstMs);
    this.#since = runtime.now();
  }

  /** It worked: what comes next starts anew. */
  succeeded(): void {
    this.#backoff.reset();
    this.#failures = 0;
    this.#since = this.runtime.now();
  }

  /** The server said after how many milliseconds to come back, at least. */
  set askedMs(ms: number) {
    this.#askedMs = ms;
    this.#backoff.firstMs = ms;
  }

  /** Waits for the next attempt; throws `last` when it is time to give up, or the signal's reason. */
  async again(error: PlanwireError, signal: AbortSignal, last: PlanwireError = error): Promise<void> {
    const askedMs = (error instanceof ProblemError ? error.retryAfterMs : undefined) ?? this.#askedMs;
    const delayMs = this.#backoff.next(askedMs);
    if (this.runtime.now() - this.#since + delayMs > this.policy.giveUpAfterMs) throw last;
    this.#failures += 1;
    this.note?.({ what: this.what, failures: this.#failures, delayMs, error });
    await this.runtime.sleep(delayMs, signal);
  }
}

/** Whether the same request may go well later. */
export function isTransient(error: unknown): error is ConnectionError | ProblemError {
  return error instanceof ConnectionError || (error instanceof ProblemError && error.transient);
}

/** Whether it may have been done although there was no answer that says so. */
export function isOutcomeUnknown(error: unknown): boolean {
  if (error instanceof ConnectionError) return error.maybeSent;
  return error instanceof ProblemError && error.outcomeUnknown;
}
