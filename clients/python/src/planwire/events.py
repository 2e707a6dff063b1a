"""The events of the log: one dataclass for each type, and :class:`CustomEvent` for every other.

The payload's members are the dataclass's fields: ``PlanStarted("nightly", name="nightly", goal="Tidy up")``. What each
means stands in EVENTS.md. A payload has at most 256 KiB and 64 levels; integers have at most 64 bits.

:meth:`BaseEvent.from_json` reads what the server sends. Members of a payload that this version does not know are kept in
``extra``, types that it does not know become a :class:`CustomEvent`; nothing is lost and nothing fails.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Type, TypeVar

from .shape import Json, Shape, ShapeError, list_of, of, read
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


@dataclass
class Failure(Shape):
    """What went wrong: ``code`` is short and stable, for programs; ``message`` is for people."""

    code: str
    message: str
    step: Optional[str] = None


@dataclass
class Counts(Shape):
    """How much a plan did, without its subplans."""

    tool_calls: int = 0
    decisions: int = 0
    subplans: int = 0


@dataclass
class Origin(Shape):
    """Who asked for a plan, and how: ``protocol`` is ``cli``, ``http``, ``a2a`` or ``engine``."""

    protocol: str
    principal: str
    message: Any = None


@dataclass
class DecisionOption(Shape):
    """What could be chosen."""

    name: str
    description: str = ""


@dataclass
class Alternative(Shape):
    """An option that was not chosen, and why."""

    name: str
    reason: str = ""


@dataclass
class Blob(Shape):
    """Bytes beside the log, under their SHA-256."""

    digest: str
    size_bytes: int


@dataclass
class ArtifactPart(Shape):
    """The content of an artifact, or where it is: exactly one of these."""

    text: Optional[str] = None
    data: Any = None
    url: Optional[str] = None
    blob: Optional[Blob] = field(default=None, metadata=of(Blob))


@dataclass
class PlanStarted(BaseEvent):
    """A plan began. The first event of each plan."""

    event_type: str = field(default="PlanStarted", init=False)
    name: str
    goal: str = ""
    inputs: Json = field(default_factory=dict)
    document_digest: Optional[str] = None
    parent_plan_id: Optional[str] = None
    context_id: Optional[str] = None
    executor_id: Optional[str] = None
    origin: Optional[Origin] = field(default=None, metadata=of(Origin))


@dataclass
class PlanCompleted(BaseEvent):
    """A plan reached its goal. Nothing follows."""

    event_type: str = field(default="PlanCompleted", init=False)
    outputs: Json = field(default_factory=dict)
    duration_ms: int = 0
    counts: Counts = field(default_factory=Counts, metadata=of(Counts))


@dataclass
class PlanFailed(BaseEvent):
    """A plan ended without reaching its goal. Nothing follows.

    ``reason``: ``error``, ``cancelled``, ``timed_out``, ``rejected``, ``limit_exceeded`` or ``interrupted``.
    """

    event_type: str = field(default="PlanFailed", init=False)
    reason: str
    error: Failure = field(metadata=of(Failure))
    duration_ms: int = 0


@dataclass
class DecisionMade(BaseEvent):
    """One of several options was chosen. ``decided_by``: ``rule``, ``model`` or ``person``."""

    event_type: str = field(default="DecisionMade", init=False)
    decision_id: str
    decision_type: str
    question: str
    options: List[DecisionOption] = field(metadata=list_of(DecisionOption))
    chosen: str
    decided_by: str
    step: str = ""
    alternatives: List[Alternative] = field(default_factory=list, metadata=list_of(Alternative))
    rationale: str = ""
    confidence: Optional[float] = None
    output: Any = None


@dataclass
class ToolCalled(BaseEvent):
    """A tool is about to run. ``call_id`` is unique among the open calls of the plan."""

    event_type: str = field(default="ToolCalled", init=False)
    call_id: str
    tool: str
    arguments: Json = field(default_factory=dict)
    step: str = ""
    attempt: int = 1


@dataclass
class ToolCompleted(BaseEvent):
    """A tool call ended: ``ok`` with ``output``, or not with ``error``."""

    event_type: str = field(default="ToolCompleted", init=False)
    call_id: str
    ok: bool
    output: Any = None
    error: Optional[Failure] = field(default=None, metadata=of(Failure))
    tool: str = ""
    step: str = ""
    truncated: bool = False
    duration_ms: int = 0
    attempt: int = 1
    usage: Optional[Json] = None


@dataclass
class SubplanSpawned(BaseEvent):
    """A subplan is about to start. An event of the parent; it fixes the child's id."""

    event_type: str = field(default="SubplanSpawned", init=False)
    child_plan_id: str
    name: str = ""
    inputs: Json = field(default_factory=dict)
    step: str = ""
    item: Optional[int] = None


@dataclass
class SubplanCompleted(BaseEvent):
    """A subplan ended: ``ok`` with ``outputs``, or not with ``error``. An event of the parent."""

    event_type: str = field(default="SubplanCompleted", init=False)
    child_plan_id: str
    ok: bool
    outputs: Optional[Json] = None
    error: Optional[Failure] = field(default=None, metadata=of(Failure))
    duration_ms: int = 0


@dataclass
class ArtifactProduced(BaseEvent):
    """A result for people or programs outside of the plan."""

    event_type: str = field(default="ArtifactProduced", init=False)
    artifact_id: str
    name: str
    media_type: str
    part: ArtifactPart = field(metadata=of(ArtifactPart))
    append: bool = False
    last_chunk: bool = False


@dataclass
class InputRequested(BaseEvent):
    """A plan asks somebody and waits for the answer. ``kind``: ``input``, ``approval`` or ``auth``.

    ``for_plan_id`` is set where an ancestor repeats the question: the plan that asks.
    """

    event_type: str = field(default="InputRequested", init=False)
    request_id: str
    kind: str
    question: str
    step: str = ""
    schema: Any = None
    for_plan_id: Optional[str] = None
    expires_at: Optional[str] = None
    arguments: Optional[Json] = None
    arguments_digest: Optional[str] = None


@dataclass
class InputReceived(BaseEvent):
    """A question was answered, or is not open any more. ``outcome``: ``answered``, ``expired`` or ``withdrawn``."""

    event_type: str = field(default="InputReceived", init=False)
    request_id: str
    answered_by: str
    value: Any = None
    outcome: str = "answered"
    via: str = ""
    arguments_digest: Optional[str] = None


@dataclass
class CancelRequested(BaseEvent):
    """Somebody asked that the plan and all below it end."""

    event_type: str = field(default="CancelRequested", init=False)
    requested_by: str
    reason: str = ""


EVENT_CLASSES: Dict[str, Type[BaseEvent]] = {
    each.__name__: each
    for each in (
        PlanStarted,
        PlanCompleted,
        PlanFailed,
        DecisionMade,
        ToolCalled,
        ToolCompleted,
        SubplanSpawned,
        SubplanCompleted,
        ArtifactProduced,
        InputRequested,
        InputReceived,
        CancelRequested,
    )
}
"""The types that have a dataclass, by name."""
