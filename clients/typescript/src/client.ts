/** The client of one Planwire server. */

import type { Draft, EventType, Published, StoredEvent, StoredEventOf } from "./event.js";
import { EventIds, eventId } from "./event_ids.js";
import { Follow } from "./follow.js";
import type { FollowOptions } from "./follow.js";
import { BACKOFF_FIRST_MS, BACKOFF_MOST_MS, GIVE_UP_MS, REQUEST_MS, SILENCE_MS } from "./limits.js";
import { events, eventsPage, plans, plansPage } from "./pages.js";
import type { EventsOptions, EventsPage, PlansOptions, PlansPage } from "./pages.js";
import type { Open } from "./payloads.js";
import type { Plan, PlanRow } from "./plan.js";
import { ProblemError } from "./problem.js";
import { Publisher } from "./publisher.js";
import type { RetryNote, RetryPolicy } from "./retry.js";
import { SYSTEM } from "./runtime.js";
import type { Runtime } from "./runtime.js";
import { Subscription } from "./subscription.js";
import type { Handler, SubscribeOptions } from "./subscription.js";
import { Transport } from "./transport.js";

/** How a client works; every member has a default. */
export interface PlanwireOptions {
  /** The token of the server's lock file, which proves the same user. Default none. */
  token?: string;
  /** Milliseconds after which a request without an answer is given up and, where that is safe, sent again. 30,000. */
  requestMs?: number;
  /** Milliseconds of silence after which a stream counts as cut. 10,000; the server is never silent for 3,000. */
  silenceMs?: number;
  /** Repetitions: 200 ms, doubling to 5,000 ms, for 60,000 ms. Following goes on for ever unless it says otherwise. */
  retry?: Partial<RetryPolicy>;
  /** Called after each failure that is tried again. Default none. */
  onRetry?: (note: RetryNote) => void;
  /** Requests, time and randomness; for tests. Default those of the platform. */
  runtime?: Partial<Runtime>;
}

/** What any single call can be given. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** What to start. Either `document` or `text`. */
export interface StartRequest {
  /** The name of a registered document; or a document as an object, where the server allows that. */
  document?: string | Open;
  /** A document as YAML or JSON text, where the server allows that. */
  text?: string;
  /** What messages call a document that is sent along. */
  name?: string;
  /** The folder to which relative paths of a document that is sent along refer; needs the token. */
  folder?: string;
  /** Inputs by name. */
  inputs?: Open;
  /** Groups several trees: 1 to 128 printable ASCII characters without spaces. */
  context_id?: string;
  /** The plan's id; a new one if not given. A start that is given up can be repeated under an id of your own. */
  plan_id?: string;
}

/** A plan that was started. */
export interface Started {
  plan_id: string;
  /** The cursor of its first event. */
  cursor: string;
}

/** An answer to an open question. */
export interface Answer {
  /** The question; may be left out if exactly one is open in the plan. */
  request_id?: string;
  /** The answer; it must fit the `schema` of the question. */
  value: unknown;
  /** Who answers. */
  answered_by?: string;
  /** How it was answered, as `page`; `http` if left out. */
  via?: string;
  /** The digest of what was shown: the answer is refused if the question is about something else by now. */
  arguments_digest?: string;
  /** A ULID; the client makes one if it is left out. */
  event_id?: string;
}

/** An answer that was taken. */
export interface Answered extends Published {
  /** The plan that asked. */
  plan_id: string;
  request_id: string;
}

/** A request to end that was taken. */
export interface Cancelling {
  plan_id: string;
  event_id: string;
  cursor: string;
}

/**
 * A client of one server. It holds no connection of its own; create one per server and keep it.
 *
 * Failures are {@link PlanwireError}s: a `ProblemError` if the server said no, a `ConnectionError` if it did not answer
 * for as long as the policy tries, an `OutcomeUnknownError` if it may have been done, an `AnswerError` if something else
 * than Planwire answered. An aborted signal rejects with its own reason.
 */
export class Planwire {
  readonly #transport: Transport;
  readonly #publisher: Publisher;
  readonly #makeId: () => string;
  readonly #silenceMs: number;

  /**
   * @param url The server's address, as `http://127.0.0.1:7420`; in a page that it serves itself, `location.origin`.
   * @throws TypeError if `url` is no address.
   */
  constructor(url: string, options: PlanwireOptions = {}) {
    const runtime: Runtime = { ...SYSTEM, ...options.runtime };
    const retry = { firstMs: BACKOFF_FIRST_MS, mostMs: BACKOFF_MOST_MS, giveUpAfterMs: GIVE_UP_MS, ...options.retry };
    const { token, requestMs = REQUEST_MS, onRetry } = options;
    this.#transport = new Transport({ url, token, requestMs, retry, onRetry, runtime });
    const ids = options.runtime === undefined ? undefined : new EventIds(runtime);
    this.#makeId = ids === undefined ? eventId : () => ids.next();
    this.#publisher = new Publisher(this.#transport, this.#makeId);
    this.#silenceMs = options.silenceMs ?? SILENCE_MS;
  }

  /**
   * Stores an event and gives its place once it is on disk.
   *
   * Repeats the request under the same event id until its outcome is known, so the event is stored once however often
   * the connection breaks or the server restarts. Events of one client are stored in the order of the calls; calls that
   * wait while a request is on its way share the next one, and a refusal fails only the call that it is about. At most
   * 100,000 events and 64 MiB may wait.
   *
   * @throws ProblemError if the server refuses it: `event-refused` with a `refusal`, `event-conflict`, `event-invalid`.
   * @throws OutcomeUnknownError if that is still not known when the policy gives up, or when the signal is aborted after
   *   the event was sent; its `events` can be published again.
   * @throws ConnectionError if it was never sent. @throws LimitError, EventError before anything is sent.
   */
  async publish(event: Draft, options: CallOptions = {}): Promise<Published> {
    const [published] = await this.#publisher.publish([event], options.signal);
    return published as Published;
  }

  /**
   * Stores a list of events in its order; see {@link Planwire.publish}.
   *
   * Up to 1,000 events and 1 MiB go in one request, of which all are stored or none. Longer lists are split, at most
   * 100,000 events at once.
   *
   * @throws PartlyPublishedError if a longer list ends in the middle; its `published` are the first of the list.
   */
  publishAll(list: readonly Draft[], options: CallOptions = {}): Promise<Published[]> {
    return this.#publisher.publish(list, options.signal);
  }

  /** Resolves when no event waits any more. Whether each was stored is said by the promise of its own call. */
  flush(): Promise<void> {
    return this.#publisher.flush();
  }

  /**
   * Follows the log, a plan or a tree as an async iterable of events, gaps and the end; see {@link Follow}.
   *
   * @throws LimitError if the filter names more than 64 types.
   */
  follow<T extends EventType = EventType>(options: FollowOptions<T> = {}): Follow<T> {
    return new Follow(this.#transport, options, this.#silenceMs);
  }

  /**
   * Calls `handler` with each event, one after the other, from now on unless `after` says otherwise. Now is when the
   * server gets the request: await `opened` before you publish what the handler must not miss.
   *
   * @throws LimitError if the filter names more than 64 types.
   */
  subscribe<T extends EventType = EventType>(handler: Handler<T>, options: SubscribeOptions<T> = {}): Subscription<T> {
    return new Subscription(handler, options, follow => this.follow(follow));
  }

  /**
   * Starts a plan. Follow it by its `plan_id`.
   *
   * Safe to repeat: the plan has one id and is started once.
   *
   * @throws ProblemError `document-unregistered`, `document-invalid` (with `diagnostics`), `inputs-invalid`,
   *   `inline-document-refused`; `plan-exists` if a `plan_id` is given under which there is a plan, perhaps of this very
   *   call. @throws OutcomeUnknownError if it was given up and the plan may have been started.
   */
  async start(request: StartRequest, options: CallOptions = {}): Promise<Started> {
    const body = { ...request, plan_id: request.plan_id ?? this.#makeId() };
    try {
      return (await this.#post("v1/plans", body, options)) as Started;
    } catch (error) {
      const exists = error instanceof ProblemError && error.kind === "plan-exists";
      if (!exists || request.plan_id !== undefined) throw error;
      // Nobody else knows the id: an attempt of ours was carried out, and its answer was lost.
      return { plan_id: body.plan_id, cursor: String(error.members["cursor"]) };
    }
  }

  /**
   * Answers an open question of a plan, of its own or one that it repeats for a subplan. Safe to repeat: the first
   * answer counts, and this one is sent under one event id.
   *
   * @throws ProblemError `answer-invalid` with `errors` if the value does not fit; `event-refused` with the refusal
   *   `request_not_open` or `arguments_changed`; `question-none` or `question-unnamed` if no `request_id` is given and not
   *   exactly one question is open; `plan-unknown`.
   */
  async answer(planId: string, answer: Answer, options: CallOptions = {}): Promise<Answered> {
    const body = { ...answer, event_id: answer.event_id ?? this.#makeId() };
    return (await this.#post(`${planPath(planId)}/answer`, body, options)) as Answered;
  }

  /**
   * Asks a plan and all below it to end; the end itself is an event, `PlanFailed` with the reason `cancelled`. A request
   * whose answer was lost is sent again, so the log may hold it twice, which changes nothing.
   *
   * @throws ProblemError `plan-ended`, `plan-unknown`.
   */
  async cancel(planId: string, reason?: string, options: CallOptions = {}): Promise<Cancelling> {
    const body = reason === undefined ? {} : { reason };
    return (await this.#post(`${planPath(planId)}/cancel`, body, options)) as Cancelling;
  }

  /**
   * Gives a plan with what its events add up to, its open questions among that.
   *
   * @throws ProblemError `plan-unknown`.
   */
  async plan(planId: string, options: CallOptions = {}): Promise<Plan> {
    return (await this.#get(planPath(planId), options)) as Plan;
  }

  /**
   * Gives the document that a plan runs, in normal form.
   *
   * @throws ProblemError `plan-unknown`, `document-unknown`.
   */
  async document(planId: string, options: CallOptions = {}): Promise<unknown> {
    return this.#get(`${planPath(planId)}/document`, options);
  }

  /**
   * Gives the bytes of an artifact that lies beside the log, at most 64 MiB.
   *
   * @throws ProblemError `plan-unknown`, `blob-unknown`.
   */
  blob(planId: string, digest: string, options: CallOptions = {}): Promise<Uint8Array> {
    const path = `${planPath(planId)}/blobs/${encodeURIComponent(digest)}`;
    return this.#transport.bytes({ method: "GET", path, headers: { accept: "*/*" } }, options.signal);
  }

  /** Iterates plans, page by page: roots, newest first, unless the options say otherwise. */
  plans(options: PlansOptions = {}): AsyncGenerator<PlanRow, void, undefined> {
    return plans(this.#transport, options);
  }

  /** Gives one page of plans, to go on later from its `next`. */
  plansPage(options: PlansOptions = {}): Promise<PlansPage> {
    return plansPage(this.#transport, options);
  }

  /** Iterates the events that are stored, page by page, up to the end of the log; {@link Planwire.follow} goes on. */
  events<T extends EventType = EventType>(options: EventsOptions<T> = {}): AsyncGenerator<StoredEventOf<T>, void, undefined> {
    return events(this.#transport, options);
  }

  /** Gives one page of events, to go on later from its `next`. */
  eventsPage<T extends EventType = EventType>(options: EventsOptions<T> = {}): Promise<EventsPage<T>> {
    return eventsPage(this.#transport, options);
  }

  /**
   * Gives one event.
   *
   * @throws ProblemError `event-unknown`.
   */
  async event(eventId: string, options: CallOptions = {}): Promise<StoredEvent> {
    return (await this.#get(`v1/events/${encodeURIComponent(eventId)}`, options)) as StoredEvent;
  }

  #get(path: string, options: CallOptions): Promise<unknown> {
    return this.#transport.json({ method: "GET", path }, options.signal);
  }

  #post(path: string, body: unknown, options: CallOptions): Promise<unknown> {
    return this.#transport.json({ method: "POST", path, body: JSON.stringify(body) }, options.signal);
  }
}

function planPath(planId: string): string {
  return `v1/plans/${encodeURIComponent(planId)}`;
}
