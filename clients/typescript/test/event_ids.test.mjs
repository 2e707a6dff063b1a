import assert from "node:assert/strict";
import { test } from "node:test";

import { eventId } from "planwire";
import { EventIds } from "../dist/event_ids.js";

const fixed = (now, byte) => ({ now: () => now(), fillRandom: bytes => bytes.fill(byte) });

test("ids rise within a millisecond, and when the clock goes back", () => {
  const times = [5, 5, 5, 6, 2, 2, 7];
  const ids = new EventIds(fixed(() => times.shift(), 255));
  const made = Array.from({ length: 7 }, () => ids.next());
  assert.deepEqual([...made].sort(), made);
  assert.equal(new Set(made).size, 7);
});

test("id is the ULID of its time and its random bits", () => {
  assert.equal(new EventIds(fixed(() => 0, 0)).next(), "0".repeat(26));
  assert.equal(new EventIds(fixed(() => 1_469_918_176_385, 0)).next(), "01ARYZ6S41" + "0".repeat(16));
  assert.equal(new EventIds(fixed(() => 2 ** 48 - 1, 255)).next(), "7ZZZZZZZZZFZZZZZZZZZZZZZZZ");
});

test("ids of one process are many and different", () => {
  const made = new Set(Array.from({ length: 20_000 }, eventId));
  assert.equal(made.size, 20_000);
  for (const id of made) assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/);
});
