/** Requests over HTTP, and what their failures mean. */

import { AnswerError, ConnectionError, OutcomeUnknownError, messageOf } from "./error.js";
import { ANSWER_BYTES_MAX, ASKED_WAIT_MAX_MS, PROBLEM_BYTES_MAX } from "./limits.js";
import { LinkedAbort, Watchdog } from "./linked_abort.js";
import { ProblemError } from "./problem.js";
import { Retry, isOutcomeUnknown, isTransient } from "./retry.js";
import type { RetryNote, RetryPolicy } from "./retry.js";
import type { Runtime } from "./runtime.js";

/** A request. */
export interface WireRequest {
  method: "GET" | "POST";
  /** Below the server's address, without a leading slash. */
  path: string;
  query?: ReadonlyArray<readonly [string, string]>;
  headers?: Readonly<Record<string, string>>;
  /** JSON text. */
  body?: string;
}

/** What a transport is made of. */
export interface TransportConfig {
  url: string;
  token: string | undefined;
  requestMs: number;
  retry: RetryPolicy;
  onRetry: ((note: RetryNote) => void) | undefined;
  runtime: Runtime;
}

/** Codes of Node with which a connection did not come about; a browser does not say. */
const NEVER_CONNECTED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"];

/** The way to one server. */
export class Transport {
  readonly #base: URL;

  constructor(readonly config: TransportConfig) {
    this.#base = new URL(config.url.endsWith("/") ? config.url : `${config.url}/`);
  }

  /**
   * Sends a request and gives its answer as JSON, repeating it as the policy says: all requests carry ids under which
   * they are done once. Given up, one that may have been done is an {@link OutcomeUnknownError}.
   */
  async json(request: WireRequest, signal?: AbortSignal): Promise<unknown> {
    const text = new TextDecoder().decode(await this.bytes(request, signal));
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new AnswerError(`the answer to ${request.method} ${request.path} is not JSON`, { cause: error });
    }
  }

  /** As {@link Transport.json}, the answer as it is. */
  async bytes(request: WireRequest, signal?: AbortSignal): Promise<Uint8Array> {
    const what = `${request.method} ${request.path}`;
    const retry = new Retry(this.config.runtime, this.config.retry, what, this.config.onRetry);
    const abort = new LinkedAbort(signal);
    let unknown = false;
    try {
      for (;;) {
        try {
          return await this.once(request, abort.signal);
        } catch (error) {
          if (!isTransient(error)) throw error;
          unknown ||= request.method === "POST" && isOutcomeUnknown(error);
          const last = unknown ? new OutcomeUnknownError(`it is not known whether ${what} was done: ${error.message}`, [], { cause: error }) : error;
          await retry.again(error, abort.signal, last);
        }
      }
    } finally {
      abort.release();
    }
  }

  /** Sends a request once and reads its whole answer within the time for requests. */
  async once(request: WireRequest, signal: AbortSignal): Promise<Uint8Array> {
    const abort = new LinkedAbort(signal);
    const late = () => abort.abort(new ConnectionError(`no answer within ${this.config.requestMs} ms`, true));
    const watchdog = new Watchdog(this.config.runtime, this.config.requestMs, late);
    watchdog.arm();
    try {
      const response = await this.open(request, abort.signal);
      return await this.#read(response, ANSWER_BYTES_MAX, abort.signal);
    } finally {
      watchdog.disarm();
      abort.release();
    }
  }

  /** Sends a request and gives its answer as soon as that is known to be a success; its body is still to be read. */
  async open(request: WireRequest, signal: AbortSignal): Promise<Response> {
    const url = new URL(request.path, this.#base);
    for (const [name, value] of request.query ?? []) url.searchParams.append(name, value);
    const headers: Record<string, string> = { accept: "application/json", ...request.headers };
    if (request.method === "POST") headers["content-type"] = "application/json";
    if (this.config.token !== undefined) headers["authorization"] = `Bearer ${this.config.token}`;
    const init: RequestInit = { method: request.method, headers, signal, cache: "no-store" };
    if (request.body !== undefined) init.body = request.body;
    let response;
    try {
      signal.throwIfAborted();
      response = await this.config.runtime.fetch(url.href, init);
    } catch (error) {
      throw this.#broken(error, signal);
    }
    if (response.ok) return response;
    throw await this.#problem(response, signal);
  }

  /** What the failure of a request or of its body means. */
  #broken(error: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    const cause = (error as { cause?: { code?: unknown } } | null)?.cause;
    const maybeSent = !NEVER_CONNECTED.includes(String(cause?.code));
    const why = cause instanceof Error ? `${messageOf(error)}: ${cause.message || String(cause.code)}` : messageOf(error);
    return new ConnectionError(`no answer from ${this.#base.origin}: ${why}`, maybeSent, { cause: error });
  }

  async #problem(response: Response, signal: AbortSignal): Promise<ProblemError> {
    const text = new TextDecoder().decode(await this.#read(response, PROBLEM_BYTES_MAX, signal, "cut"));
    let members: Record<string, unknown> = {};
    if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
      try {
        members = JSON.parse(text) as Record<string, unknown>;
      } catch {
        // Cut, or not written by Planwire: the status says enough.
      }
    }
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    const retryAfterMs = seconds >= 0 ? Math.min(seconds * 1000, ASKED_WAIT_MAX_MS) : undefined;
    return new ProblemError(response.status, members, retryAfterMs);
  }

  async #read(response: Response, max: number, signal: AbortSignal, beyond: "cut" | "refuse" = "refuse"): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    const reader = response.body?.getReader();
    for (;;) {
      let chunk;
      try {
        chunk = await reader?.read();
      } catch (error) {
        throw this.#broken(error, signal);
      }
      if (chunk === undefined || chunk.value === undefined) return joined(chunks, length);
      chunks.push(chunk.value);
      length += chunk.value.length;
      if (length > max) {
        await reader?.cancel().catch(() => {});
        if (beyond === "cut") return joined(chunks, length);
        throw new AnswerError(`the answer has more than ${max} bytes`);
      }
    }
  }
}

function joined(chunks: Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
