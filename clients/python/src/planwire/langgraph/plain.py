"""Makes bounded JSON of whatever stands in the state of a graph.

Nothing here fails and nothing grows without bound: what is too long, too deep or no data at all is replaced by a text
in parentheses that says so. Integers beyond 64 bits, NaN and infinities become text, as a payload must have it.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence, Set
from collections import deque
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Iterable, List, Tuple
from uuid import UUID

from ..shape import Json

DEPTH_MAX = 24
"""Levels of one value; a payload has at most 64."""

TEXT_CHARS_MAX = 16_384
"""Characters of one text."""

VALUE_BYTES_MAX = 64 * 1024
"""Bytes of one value as JSON, unless the handler was told otherwise."""

PAYLOAD_VALUE_BYTES_MAX = 192 * 1024
"""What the handler may be told: a payload of 256 KiB must have room for the rest of it."""

SORTED_MAX = 1_000
"""Members of a set that are sorted; larger ones are told in the order in which they come."""

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1
_ITEM_BYTES = 2
"""What stands around an item: a comma, a bracket."""

_TEXTS = (UUID, Decimal, PurePath, timedelta)
_LISTS = (Sequence, Set, deque)


@dataclasses.dataclass(frozen=True)
class Plain:
    """A value as JSON."""

    value: Any
    size_bytes: int
    """About how many bytes it has as JSON; never fewer than it has."""
    truncated: bool
    """Whether something was left out."""

    def object(self, member: str) -> Json:
        """The value if it is an object; else an object with the value as its only member."""
        if isinstance(self.value, dict):
            return self.value
        return {} if self.value is None else {member: self.value}


def plain(value: Any, bytes_max: int = VALUE_BYTES_MAX) -> Plain:
    """Makes JSON of any value, of at most about ``bytes_max`` bytes."""
    maker = _Maker(bytes_max)
    made = maker.make(value, 0)
    return Plain(made, bytes_max - maker.left + 16, maker.truncated)


def text_of(value: Any, chars_max: int) -> str:
    """A short text for people: a text as it is, anything else as JSON."""
    made = plain(value, bytes_max=chars_max * 4).value
    text = made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


class _Maker:
    """Makes one value. ``left`` is what it may still take; below 0 nothing more is taken."""

    def __init__(self, bytes_max: int) -> None:
        self.left = bytes_max
        self.truncated = False
        self._open: List[int] = []
        """What encloses the value that is being made, so that a circle is seen."""

    def make(self, value: Any, depth: int) -> Any:
        try:
            return self._made(value, depth)
        except Exception as error:
            # Values are other people's code: properties that raise, dictionaries that another thread changes.
            return self.note(f"unreadable {type(value).__name__}: {type(error).__name__}")

    def _made(self, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            self.left -= 5
            return value
        if isinstance(value, enum.Enum):
            return self.make(value.value, depth)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return self.number(int(value)) if _INTEGER_MIN <= value <= _INTEGER_MAX else self.text(_decimal(value))
        if isinstance(value, float):
            return self.number(float(value)) if math.isfinite(value) else self.text(str(float(value)))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self.note(f"{len(value)} bytes", cut=len(value) > 0)
        if isinstance(value, (date, time)):
            return self.text(value.isoformat())
        if isinstance(value, _TEXTS):
            return self.text(str(value))
        if depth >= DEPTH_MAX:
            return self.note(f"{type(value).__name__}, too deep", cut=True)
        return self._enclosing(value, depth)

    def _enclosing(self, value: Any, depth: int) -> Any:
        if id(value) in self._open:
            return self.note("circular")
        self._open.append(id(value))
        try:
            if isinstance(value, Mapping):
                return self.members(value.items(), len(value), depth)
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                return self.members(zip(value._fields, value), len(value), depth)
            if isinstance(value, _LISTS):
                return self.items(value, depth)
            fields = _fields_of(value)
            if fields is not None:
                return self.members(fields, len(fields), depth)
        finally:
            self._open.pop()
        if isinstance(value, BaseException):
            return self.text(f"{type(value).__name__}: {value}")
        if "Secret" in type(value).__name__:
            # pydantic's SecretStr and its like: their text is stars.
            return self.text(str(value))
        return self.text(repr(value))

    def items(self, values: Iterable[Any], depth: int) -> List[Any]:
        """A list. A set has no order of its own; it gets one, so that equal sets look equal."""
        if isinstance(values, Set) and len(values) <= SORTED_MAX:
            values = sorted(values, key=lambda each: (type(each).__name__, repr(each)))
        whole = list(values)
        out: List[Any] = []
        for each in whole:
            if self.left <= 0:
                out.append(self.note(f"{len(whole) - len(out)} more", cut=True))
                break
            self.left -= _ITEM_BYTES
            out.append(self.make(each, depth + 1))
        return out

    def members(self, pairs: Iterable[Tuple[Any, Any]], count: int, depth: int) -> Json:
        """An object."""
        out: Json = {}
        for key, value in list(pairs):
            if self.left <= 0:
                out["(cut)"] = self.note(f"{count - len(out)} more", cut=True)
                break
            name = self.text(key if isinstance(key, str) else str(key))
            if name in out:
                name = self.text(f"{name} ({type(key).__name__} {len(out)})")
            self.left -= _ITEM_BYTES
            out[name] = self.make(value, depth + 1)
        return out

    def number(self, value: float) -> Any:
        """An integer or a float."""
        self.left -= 24
        return value

    def text(self, value: str) -> str:
        """A text, cut where it is too long; what JSON or the log cannot hold is replaced."""
        room = min(TEXT_CHARS_MAX, max(self.left, 0))
        cut = len(value) > room
        kept = str(value[:room]).replace("\0", "\u2400")
        try:
            size = len(kept.encode("utf-8"))
        except UnicodeEncodeError:
            kept = kept.encode("utf-8", "replace").decode("utf-8")
            size = len(kept.encode("utf-8"))
        # Quotes, line breaks and backslashes take two bytes, other controls six.
        self.left -= size + 2 + sum(1 if each in '"\\\n\r\t' else 5 for each in kept if each in '"\\' or each < " ")
        if not cut:
            return kept
        self.truncated = True
        return f"{kept}… ({len(value) - len(kept)} more characters)"

    def note(self, text: str, cut: bool = False) -> str:
        """A text of ours in the place of a value."""
        self.left -= len(text) + 4
        self.truncated = self.truncated or cut
        return f"({text})"


def _decimal(value: int) -> str:
    """The digits of a large integer; Python refuses to write some thousands of them."""
    return str(value) if value.bit_length() < 4_000 else f"({value.bit_length()} bits)"


def _fields_of(value: Any) -> Any:
    """Names and values of an object that is a record: a message, a pydantic model, a dataclass, a Send."""
    kind = type(value)
    fields = getattr(kind, "model_fields", None)
    if isinstance(fields, dict):
        extra = getattr(value, "__pydantic_extra__", None) or {}
        pairs = [*((name, getattr(value, name)) for name in fields), *extra.items()]
        is_message = "content" in fields and "type" in fields
        return [(name, each) for name, each in pairs if not (is_message and _empty(each))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value) if each.repr]
    if kind.__module__.startswith("langgraph.") and hasattr(kind, "__slots__"):
        return [(name, getattr(value, name)) for name in kind.__slots__ if hasattr(value, name)]
    return None


def _empty(value: Any) -> bool:
    """Whether a member of a message says nothing: most of them are empty, in each message of each state."""
    return value is None or (isinstance(value, (dict, list, str)) and not value)


