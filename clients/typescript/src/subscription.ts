/** Following by callback. */

import { GapError } from "./error.js";
import type { EventType, StoredEventOf } from "./event.js";
import type { Follow, FollowOptions, GapItem } from "./follow.js";
import { LinkedAbort } from "./linked_abort.js";

/** Called with each event, one at a time: the next one comes when the promise that it returns is fulfilled. */
export type Handler<T extends EventType = EventType> = (event: StoredEventOf<T>) => unknown;

/** What to subscribe to. `after` is `now` if left out. */
export interface SubscribeOptions<T extends EventType = EventType> extends FollowOptions<T> {
  /** Called when retention has removed events that the handler was to get; without it that ends the subscription. */
  onGap?: (gap: GapItem) => unknown;
}

/** A handler that is being called. */
export class Subscription<T extends EventType = EventType> {
  /**
   * Fulfilled after the last event: at the end of the plan, after {@link Subscription.unsubscribe}, or when its signal
   * was aborted. Rejected with what the handler threw, with a {@link GapError}, and with what ends a {@link Follow}; an
   * error that nobody waits for is reported as an unhandled rejection.
   */
  readonly done: Promise<void>;
  readonly #follow: Follow<T>;
  readonly #abort: LinkedAbort;
  #cursor: string | null = null;

  /** @internal */
  constructor(handler: Handler<T>, options: SubscribeOptions<T>, open: (options: FollowOptions<T>) => Follow<T>) {
    this.#abort = new LinkedAbort(options.signal);
    this.#follow = open({ ...options, after: options.after ?? "now", signal: this.#abort.signal });
    this.done = this.#run(handler, options.onGap);
  }

  /** The cursor of the last event that the handler is done with: another subscription goes on `after` it. */
  get cursor(): string | null {
    return this.#cursor;
  }

  /**
   * Fulfilled when its place in the log is fixed: the handler gets what is stored from then on. Never rejected, and
   * fulfilled too when the subscription ends before.
   */
  get opened(): Promise<void> {
    return this.#follow.opened;
  }

  /** Whether a connection is open, as far as is known. */
  get connected(): boolean {
    return this.#follow.connected;
  }

  /** Calls the handler no more; a call that runs goes on to its end. */
  unsubscribe(): void {
    this.#abort.release();
  }

  async #run(handler: Handler<T>, onGap: ((gap: GapItem) => unknown) | undefined): Promise<void> {
    const { signal } = this.#abort;
    try {
      for await (const item of this.#follow) {
        if (signal.aborted) return;
        if (item.kind === "event") {
          await handler(item.event);
          this.#cursor = item.cursor;
        } else if (item.kind === "gap") {
          if (onGap === undefined) throw new GapError(item.requested, item.firstKept);
          await onGap(item);
        }
      }
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
    } finally {
      this.#abort.release();
    }
  }
}
