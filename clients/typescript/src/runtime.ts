/** What the client needs of the world: requests, time and randomness, so that tests can stand in for each. */

/** The world of a client. */
export interface Runtime {
  /** As the global `fetch`. */
  fetch(url: string, init: RequestInit): Promise<Response>;
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 to below 1; spreads repetitions. */
  random(): number;
  /** Fills with unpredictable bytes; makes event ids unique. */
  fillRandom(bytes: Uint8Array<ArrayBuffer>): void;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when that is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The world as it is. */
export const SYSTEM: Runtime = {
  // Looked up at each call: a page may replace it, and it must be called as a function of the global object.
  fetch: (url, init) => globalThis.fetch(url, init),
  now: () => Date.now(),
  random: () => Math.random(),
  fillRandom,
  sleep,
};

function fillRandom(bytes: Uint8Array<ArrayBuffer>): void {
  const crypto = globalThis.crypto as Crypto | undefined;
  if (crypto !== undefined) crypto.getRandomValues(bytes);
  // Node 18 has it only as a module, which browsers have not. An id has to be unique, not secret.
  else bytes.forEach((_, at) => (bytes[at] = Math.floor(Math.random() * 256)));
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
