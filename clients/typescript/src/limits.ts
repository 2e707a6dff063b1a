/** How much and how long; each limit has one name, here. Those of the server are named as such. */

/** Events of one publish request (the server's limit). */
export const REQUEST_EVENTS_MAX = 1_000;

/** Bytes of one publish request's body (the server's limit). */
export const REQUEST_BYTES_MAX = 1024 * 1024;

/** Events that may wait in one client until they are published; further ones are refused. */
export const PENDING_EVENTS_MAX = 100_000;

/** Bytes of JSON that may wait in one client until they are published; further ones are refused. */
export const PENDING_BYTES_MAX = 64 * 1024 * 1024;

/** Entries of one page (the server's limit). */
export const PAGE_MAX = 1_000;

/** Event types that a filter may name (the server's limit). */
export const FILTER_TYPES_MAX = 64;

/** Bytes of an answer that is read into memory; a page of the server stays far below. */
export const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Bytes of a problem that is read; what is beyond is cut. */
export const PROBLEM_BYTES_MAX = 64 * 1024;

/** Characters of one frame of a stream. The largest payload has 256 KiB. */
export const FRAME_CHARS_MAX = 4 * 1024 * 1024;

/** Milliseconds after which a request without an answer is given up and, where that is safe, sent again. */
export const REQUEST_MS = 30_000;

/** Milliseconds of silence after which a stream counts as cut. The server is never silent for more than 3,000. */
export const SILENCE_MS = 10_000;

/** Milliseconds before the first repetition of a request, at most; they double from one to the next. */
export const BACKOFF_FIRST_MS = 200;

/** Milliseconds between two repetitions, at most. */
export const BACKOFF_MOST_MS = 5_000;

/** Milliseconds that the server may ask us to wait (`Retry-After`, `retry:`); longer is cut to this. */
export const ASKED_WAIT_MAX_MS = 60_000;

/** Milliseconds after which a request that keeps failing is given up. */
export const GIVE_UP_MS = 60_000;
