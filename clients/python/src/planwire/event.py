"""What every event has, and how events are read and written.

:meth:`BaseEvent.from_json` reads what the server sends. Members of a payload that this version does not know are kept
in ``extra``, types that it does not know become a :class:`CustomEvent`; nothing is lost and nothing fails. The types
that it knows stand in :mod:`planwire.events`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar, Dict, FrozenSet, Mapping, Optional, Type, TypeVar

from .shape import Json, Shape, ShapeError, read
from .ulid import new_id

EventType = TypeVar("EventType", bound="BaseEvent")


def now() -> datetime:
    """The time by the clock of this machine, in UTC."""
    return datetime.now(timezone.utc)


def time_text(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds. A time without a zone is taken as UTC."""
    zoned = time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    return zoned.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def time_of(text: Any) -> datetime:
    """Reads RFC 3339. Raises :class:`ShapeError`."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (AttributeError, ValueError):
        raise ShapeError(f"{text!r} is no timestamp") from None


@dataclass(frozen=True)
class Stored:
    """Where an event stands, as the log says."""

    position: int
    """1, 2, 3 ... in the log, in the order of commits."""
    cursor: str
    """The position in a form that also names the log: ``follow(after=cursor)`` goes on behind this event."""
    seq: int
    """1, 2, 3 ... in its plan, without gaps."""
    root_plan_id: str
    parent_plan_id: Optional[str]
    depth: int
    recorded_at: datetime


@dataclass
class BaseEvent(Shape):
    """What every event has. ``event_id`` and ``timestamp`` are made when the object is; see :meth:`with_meta`."""

    plan_id: str
    event_type: str = field(default="", init=False)
    event_id: str = field(default_factory=new_id, init=False)
    """ULID, the key of idempotence: publishing an event again under the same id stores nothing."""
    timestamp: datetime = field(default_factory=now, init=False)
    """When it happened, by the clock of its publisher."""
    traceparent: Optional[str] = field(default=None, init=False)
    """W3C Trace Context, 55 characters; stored, and not part of what is read."""
    stored: Optional[Stored] = field(default=None, init=False, compare=False)
    """Where it stands; None before it was read from the log."""

    _aside: ClassVar[FrozenSet[str]] = frozenset(
        ["extra", "_given", "plan_id", "event_type", "event_id", "timestamp", "traceparent", "stored"]
    )

    @property
    def payload(self) -> Json:
        """The payload as it is sent, a new object."""
        return super().to_json()

    @property
    def position(self) -> int:
        """Its position in the log. Raises ValueError if it was not read from the log."""
        return self._place().position

    @property
    def cursor(self) -> str:
        """Its cursor. Raises ValueError if it was not read from the log."""
        return self._place().cursor

    @property
    def seq(self) -> int:
        """Its number in its plan. Raises ValueError if it was not read from the log."""
        return self._place().seq

    def _place(self) -> Stored:
        if self.stored is None:
            raise ValueError(f"event {self.event_id} was not read from a log")
        return self.stored

    def with_meta(
        self: EventType,
        *,
        event_id: Optional[str] = None,
        timestamp: Optional[datetime] = None,
        traceparent: Optional[str] = None,
        extra: Optional[Mapping[str, Any]] = None,
    ) -> EventType:
        """A copy with an id, a time, a trace or further payload members of your own."""
        made = copy.copy(self)
        made.event_id = self.event_id if event_id is None else event_id
        made.timestamp = self.timestamp if timestamp is None else timestamp
        made.traceparent = self.traceparent if traceparent is None else traceparent
        made.extra = {**self.extra, **(extra or {})}
        return made

    def to_json(self) -> Json:
        """What is published: the members that a publisher sets."""
        out: Json = {
            "event_id": self.event_id,
            "event_type": self.event_type,
            "plan_id": self.plan_id,
            "timestamp": time_text(self.timestamp),
            "payload": self.payload,
        }
        if self.traceparent is not None:
            out["traceparent"] = self.traceparent
        return out

    @classmethod
    def from_json(cls, value: Any) -> BaseEvent:
        """Reads an event of any type, stored or not. Raises :class:`ShapeError` if it has not the form of an event."""
        if not isinstance(value, dict):
            raise ShapeError("an event must be an object")
        try:
            event = _payload_of(value["event_type"], value["plan_id"], value.get("payload", {}))
            event.event_id = value["event_id"]
            event.timestamp = time_of(value["timestamp"])
            event.traceparent = value.get("traceparent")
            if "position" in value:
                event.stored = _stored(value)
        except KeyError as missing:
            raise ShapeError(f"an event has no member {missing}") from None
        except TypeError as error:
            raise ShapeError(f"an event has a member of another type: {error}") from None
        return event


def _stored(value: Json) -> Stored:
    return Stored(
        value["position"],
        value["cursor"],
        value["seq"],
        value["root_plan_id"],
        value["parent_plan_id"],
        value["depth"],
        time_of(value["recorded_at"]),
    )


def _payload_of(event_type: str, plan_id: str, payload: Any) -> BaseEvent:
    known = EVENT_CLASSES.get(event_type)
    if known is not None:
        try:
            return read(known, payload, plan_id=plan_id)
        except ShapeError:
            pass
    if not isinstance(payload, dict):
        raise ShapeError("a payload must be an object")
    return CustomEvent(plan_id, event_type, payload)


@dataclass
class CustomEvent(BaseEvent):
    """An event of your own: ``CustomEvent("nightly", "acme.cache_hit", {"key": "readme"})``.

    The type has a dot in its name and at most 128 characters of ``A-Z a-z 0-9 _ - .``, beginning with a letter. Types
    that this version of the library does not know are read as this too.
    """

    event_type: str
    data: Json = field(default_factory=dict)
    """The payload."""

    @property
    def payload(self) -> Json:
        """The payload as it is sent, a new object."""
        return {**self.data, **self.extra}


EVENT_CLASSES: Dict[str, Type[BaseEvent]] = {}
"""The types that have a dataclass, by name; :mod:`planwire.events` fills it."""
