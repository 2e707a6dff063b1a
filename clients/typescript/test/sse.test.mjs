import assert from "node:assert/strict";
import { test } from "node:test";

import { AnswerError, limits } from "planwire";
import { SseParser } from "../dist/sse.js";

const bytes = text => new TextEncoder().encode(text);
const TEXT = ': planwire\nretry: 750\nid: a-1\n\nid: a-2\nevent: x.é\ndata: {"t":"zwölf € 🚀"}\n\n: hb\nid: a-3\n\n';
const FRAMES = [
  { event: "", data: "", id: "a-1", retryMs: 750 },
  { event: "x.é", data: '{"t":"zwölf € 🚀"}', id: "a-2", retryMs: undefined },
  { event: "", data: "", id: "a-3", retryMs: undefined },
];

test("frames are the same however their bytes are cut", () => {
  for (const ends of ["\n", "\r\n", "\r"]) {
    const all = bytes(TEXT.replaceAll("\n", ends));
    for (let size = 1; size <= all.length; size++) {
      const parser = new SseParser();
      const frames = [];
      for (let at = 0; at < all.length; at += size) frames.push(...parser.take(all.subarray(at, at + size)));
      assert.deepEqual(frames, FRAMES, `${size} bytes at a time, ${JSON.stringify(ends)}`);
    }
  }
});

test("frame that is cut off is none", () => {
  const whole = bytes("id: a-1\ndata: 1\n\n");
  for (let length = 0; length < whole.length; length++) {
    assert.deepEqual(new SseParser().take(whole.subarray(0, length)), []);
  }
});

test("fields that are unknown or malformed are passed over", () => {
  const [frame] = new SseParser().take(bytes("foo: 1\nretry: soon\nid\ndata:x\ndata: y\nbar\n\n"));
  assert.deepEqual(frame, { event: "", data: "x\ny", id: "", retryMs: undefined });
});

test("frame without an end does not fill the memory", () => {
  const parser = new SseParser();
  const piece = new Uint8Array(1024 * 1024).fill(120);
  assert.throws(() => {
    for (let at = 0; at <= limits.FRAME_CHARS_MAX / piece.length; at++) parser.take(piece);
  }, AnswerError);
});
