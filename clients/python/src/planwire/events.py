"""The events of the log: one dataclass for each type, and the objects that stand in their payloads.

The payload's members are the dataclass's fields: ``PlanStarted("nightly", name="nightly", goal="Tidy up")``. What each
means stands in EVENTS.md. A payload has at most 256 KiB and 64 levels; integers have at most 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional

from .event import EVENT_CLASSES, BaseEvent
from .shape import Json, Shape, list_of, of


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
class Reserved(Shape):
    """What a call may use at most."""

    tokens: Optional[int] = None
    cost: Optional[float] = None


@dataclass
class UsageSum(Shape):
    """What any number of calls used together."""

    tool_calls: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0
    currency: Optional[str] = None


@dataclass
class LimitHit(Shape):
    """A limit for a plan and all below it of which more was asked for than is left."""

    plan_id: str
    limit: str
    used: float
    max: float


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
    folder: Optional[str] = None
    document_received: bool = False
    origin: Optional[Origin] = field(default=None, metadata=of(Origin))


@dataclass
class PlanCompleted(BaseEvent):
    """A plan reached its goal. Nothing follows."""

    event_type: str = field(default="PlanCompleted", init=False)
    outputs: Json = field(default_factory=dict)
    duration_ms: int = 0
    counts: Counts = field(default_factory=Counts, metadata=of(Counts))
    usage: Optional[UsageSum] = field(default=None, metadata=of(UsageSum))


@dataclass
class PlanFailed(BaseEvent):
    """A plan ended without reaching its goal. Nothing follows.

    ``reason``: ``error``, ``cancelled``, ``timed_out``, ``rejected``, ``limit_exceeded`` or ``interrupted``.
    """

    event_type: str = field(default="PlanFailed", init=False)
    reason: str
    error: Failure = field(metadata=of(Failure))
    duration_ms: int = 0
    limit: Optional[LimitHit] = field(default=None, metadata=of(LimitHit))
    usage: Optional[UsageSum] = field(default=None, metadata=of(UsageSum))


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
    error: Optional[Failure] = field(default=None, metadata=of(Failure))


@dataclass
class ToolCalled(BaseEvent):
    """A tool is about to run. ``call_id`` is unique among the open calls of the plan."""

    event_type: str = field(default="ToolCalled", init=False)
    call_id: str
    tool: str
    arguments: Json = field(default_factory=dict)
    step: str = ""
    attempt: int = 1
    reserved: Optional[Reserved] = field(default=None, metadata=of(Reserved))


@dataclass
class ToolProgress(BaseEvent):
    """A tool that runs says how far it is."""

    event_type: str = field(default="ToolProgress", init=False)
    call_id: str
    text: str


@dataclass
class ToolCompleted(BaseEvent):
    """A tool call ended: ``ok`` with ``output``, or not with ``error``.

    ``usage``: ``input_tokens``, ``output_tokens``, ``total_tokens``, ``cost``, ``currency``, ``estimated``.
    """

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
    document_digest: Optional[str] = None


@dataclass
class SubplanCompleted(BaseEvent):
    """A subplan ended: ``ok`` with ``outputs``, or not with ``error``. An event of the parent."""

    event_type: str = field(default="SubplanCompleted", init=False)
    child_plan_id: str
    ok: bool
    outputs: Optional[Json] = None
    error: Optional[Failure] = field(default=None, metadata=of(Failure))
    duration_ms: int = 0
    limit: Optional[LimitHit] = field(default=None, metadata=of(LimitHit))
    usage: Optional[UsageSum] = field(default=None, metadata=of(UsageSum))


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


@dataclass
class PauseRequested(BaseEvent):
    """Somebody asked that the plan and all below it begin nothing new."""

    event_type: str = field(default="PauseRequested", init=False)
    requested_by: str
    reason: str = ""


@dataclass
class ResumeRequested(BaseEvent):
    """Somebody asked that a paused plan go on."""

    event_type: str = field(default="ResumeRequested", init=False)
    requested_by: str
    reason: str = ""


@dataclass
class PlanAdopted(BaseEvent):
    """Another executor runs the tree from now on. An event of the root."""

    event_type: str = field(default="PlanAdopted", init=False)
    executor_id: str
    previous: str
    reason: str = ""


@dataclass
class LimitWarned(BaseEvent):
    """Most of what a plan and all below it may use is used, or of its time.

    ``limit``: ``tool_calls``, ``tokens``, ``cost`` or ``timeout``, whose numbers are milliseconds.
    """

    event_type: str = field(default="LimitWarned", init=False)
    limit: str
    used: float
    max: float


EVENT_CLASSES.update(
    (each.__name__, each)
    for each in (
        PlanStarted,
        PlanCompleted,
        PlanFailed,
        DecisionMade,
        ToolCalled,
        ToolProgress,
        ToolCompleted,
        SubplanSpawned,
        SubplanCompleted,
        ArtifactProduced,
        InputRequested,
        InputReceived,
        CancelRequested,
        PauseRequested,
        ResumeRequested,
        PlanAdopted,
        LimitWarned,
    )
)
