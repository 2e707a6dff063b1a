"""What becomes of the values of a state: bounded JSON that the log takes, whatever they are."""

import dataclasses
import enum
import json
import random
import unittest
from collections import deque
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from planwire import CustomEvent, EventBus, PlanStarted

from .graphs import MISSING
from .serving import RealServer

if not MISSING:
    from langchain_core.messages import AIMessage, HumanMessage
    from langgraph.types import Command, Send
    from pydantic import BaseModel, SecretStr

    from planwire.langgraph.plain import DEPTH_MAX, TEXT_CHARS_MAX, plain, text_of

    class Model(BaseModel):
        name: str
        token: SecretStr


class Color(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Record:
    name: str
    hidden: str = dataclasses.field(default="h", repr=False)


@unittest.skipIf(MISSING, MISSING)
class Values(unittest.TestCase):
    def check(self, value: Any, expected: Any) -> None:
        self.assertEqual(plain(value).value, expected)

    def test_what_graphs_hold_becomes_json(self) -> None:
        self.check(None, None)
        self.check({"a": [1, 2.5, True, "x"], 3: None}, {"a": [1, 2.5, True, "x"], "3": None})
        self.check((1, deque([2]), {"b", "a"}), [1, [2], ["a", "b"]])
        self.check([Color.RED, Point(1, 2), Record("r")], ["red", {"x": 1, "y": 2}, {"name": "r"}])
        self.check([UUID(int=1), Decimal("1.5"), Path("/a")], [str(UUID(int=1)), "1.5", "/a"])
        zoned = datetime(2026, 1, 2, tzinfo=timezone.utc)
        self.check([zoned, date(2026, 1, 2)], ["2026-01-02T00:00:00+00:00", "2026-01-02"])
        self.check(HumanMessage("hi"), {"content": "hi", "type": "human"})
        call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
        self.check(AIMessage("", tool_calls=[call]), {"type": "ai", "tool_calls": [call]})
        self.check(Model(name="n", token=SecretStr("s3cret")), {"name": "n", "token": "**********"})
        self.assertLessEqual({"node": "node", "arg": {"x": 1}}.items(), plain(Send("node", {"x": 1})).value.items())
        self.assertEqual(plain(Command(goto="b")).value["goto"], "b")
        self.check(ValueError("no"), "ValueError: no")

    def test_an_iterator_is_left_for_the_graph_to_read(self) -> None:
        values = iter([1, 2])
        self.assertIn("iterator", plain(values).value)
        self.assertEqual(next(values), 1)

    def test_what_the_log_refuses_is_replaced(self) -> None:
        self.check([2**64 - 1, 2**64, -(2**63), -(2**63) - 1], [2**64 - 1, str(2**64), -(2**63), str(-(2**63) - 1)])
        self.check([float("inf"), float("-inf"), float("nan")], ["inf", "-inf", "nan"])
        self.check("a\0b\ud800c", "a\u2400b?c")
        self.check(b"\0\1\2", "(3 bytes)")
        self.check(10**10_000, f"({(10**10_000).bit_length()} bits)")

    def test_what_is_too_large_is_cut_and_says_so(self) -> None:
        for value in ["x" * 100_000, ["y" * 500] * 1_000, {str(n): n for n in range(100_000)}, [[["z"] * 999] * 999]]:
            made = plain(value, 10_000)
            self.assertTrue(made.truncated)
            self.assertLess(len(json.dumps(made.value)), 12_000)
            self.assertLessEqual(len(json.dumps(made.value, ensure_ascii=False).encode()), made.size_bytes + 500)
        self.assertEqual(len(plain("x" * 100_000).value.partition("…")[0]), TEXT_CHARS_MAX)
        deep: Any = []
        for _ in range(10_000):
            deep = [deep]
        self.assertLess(json.dumps(plain(deep).value).count("["), DEPTH_MAX + 1)
        self.assertEqual(text_of({"a": "b" * 50}, 20), '{"a": "bbbbbbbbbbbb…')

    def test_anything_random_is_taken_by_the_log(self) -> None:
        seed = random.randrange(2**32)
        chance = random.Random(seed)
        with RealServer() as server:
            bus = EventBus(server.url)
            bus.publish(PlanStarted("values", "values"))
            for _ in range(300):
                made = plain(anything(chance, 0), chance.choice([100, 5_000, 190_000]))
                try:
                    bus.publish(CustomEvent("values", "acme.value", {"value": made.value}))
                except Exception as error:
                    self.fail(f"seed {seed}: {error}: {str(made.value)[:500]}")
            bus.close()


def anything(chance: random.Random, depth: int) -> Any:
    """A value of any kind."""
    kinds = 6 if depth > 6 else 9
    kind = chance.randrange(kinds)
    if kind == 0:
        return chance.choice([None, True, object(), Color.RED, Record("r"), b"x" * chance.randrange(9), {1, 2}])
    if kind == 1:
        return chance.choice([-1, 1]) * chance.getrandbits(chance.choice([3, 63, 64, 65, 200]))
    if kind == 2:
        return chance.choice([0.1, -0.0, 1e308, 5e-324, float("nan"), float("inf"), 1.0])
    if kind < 6:
        odd = [0, 9, 31, 34, 92, 127, 0xD800, 0xE9, 0x1F600, 65]
        return "".join(chr(chance.choice(odd)) for _ in range(chance.randrange(40)))
    many = range(chance.choice([0, 1, 5, 40 if depth < 2 else 3]))
    if kind == 6:
        return [anything(chance, depth + 1) for _ in many]
    if kind == 7:
        return {chance.choice([1, "1", "a", None, "\0", (1, 2)]): anything(chance, depth + 1) for _ in many}
    return (anything(chance, depth + 1), "x" * chance.choice([0, 10, 70_000]))


if __name__ == "__main__":
    unittest.main()
