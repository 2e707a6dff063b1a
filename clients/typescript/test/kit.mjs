// A server that follows a script, and a world in which time passes only when it is waited for.
import { createServer } from "node:http";

/**
 * Answers the requests of a test, one handler for each in their order; the last one answers all that follow.
 * A handler gets `{ request, response, body }`.
 */
export async function scripted(t, ...handlers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const at = requests.push({ method: request.method, url: request.url, headers: request.headers, body: undefined }) - 1;
    const parts = [];
    for await (const part of request) parts.push(part);
    const text = Buffer.concat(parts).toString();
    requests[at].body = text === "" ? undefined : JSON.parse(text);
    await handlers[Math.min(at, handlers.length - 1)]({ request, response, body: requests[at].body });
  });
  await new Promise(resolve => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise(resolve => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** Time that passes at once, and the waits that were asked for. Waits of `hold` ms and more never end by themselves. */
export function world({ random = () => 0, hold = 10_000 } = {}) {
  const waits = [];
  let now = 1_700_000_000_000;
  const sleep = (ms, signal) =>
    new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (signal.aborted || ms >= hold) return;
      waits.push(ms);
      now += ms;
      setImmediate(resolve);
    });
  return { waits, runtime: { now: () => now, random, sleep } };
}

export const cursor = number => `7Q4M2K9A-${number.toString(16).padStart(16, "0")}`;

/** Answers a publish request as a log does that holds `before` events. */
export function stored({ response, body }, before = 0, duplicate = false) {
  const events = body.events.map(({ event_id }, at) => {
    const position = before + at + 1;
    return { event_id, position, cursor: cursor(position), seq: position, duplicate };
  });
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ events }));
}

export function problem({ response }, status, slug, members = {}, headers = {}) {
  response.writeHead(status, { "content-type": "application/problem+json", ...headers });
  const type = `urn:planwire:problem:${slug}`;
  response.end(JSON.stringify({ type, title: slug, status, detail: `said: ${slug}`, ...members }));
}

/** Takes the request and cuts the connection. */
export const cut = ({ request }) => request.socket.destroy();

export const hello = number => `: planwire\nretry: 7\nid: ${cursor(number)}\n\n`;

export function frame(number, text = "") {
  const event = { event_id: `E${number}`, event_type: "acme.note", plan_id: "p", payload: { number, text }, cursor: cursor(number) };
  return `id: ${cursor(number)}\nevent: acme.note\ndata: ${JSON.stringify(event)}\n\n`;
}

export const end = number => `id: ${cursor(number)}\nevent: end\ndata: {"plan_id":"p"}\n\n`;

/** Answers with a stream of these pieces, each written by itself; `then` is `end`, `cut` or `stay`. */
export function stream(pieces, then = "end") {
  return async ({ request, response }) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.socket.setNoDelay(true);
    for (const piece of pieces) await new Promise(resolve => response.write(piece, () => setImmediate(resolve)));
    if (then === "end") response.end();
    if (then === "cut") request.socket.destroy();
  };
}

/** All items of an iterable, in short: numbers for events, names for the rest. */
export async function short(items) {
  const seen = [];
  for await (const item of items) seen.push(item.kind === "event" ? item.event.payload.number : item.kind);
  return seen;
}
