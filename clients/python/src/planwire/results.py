"""What the server answers: the places of events, plans and their questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional

from .shape import Json, Shape, list_of


@dataclass
class Published(Shape):
    """An event is on disk. ``duplicate``: it was there already, under the same id; the place is the first one."""

    event_id: str
    position: int
    cursor: str
    seq: int
    duplicate: bool = False


@dataclass
class Answered(Shape):
    """An answer is on disk: the InputReceived on the plan that asked, which is ``plan_id``."""

    plan_id: str
    request_id: str
    event_id: str
    position: int
    cursor: str
    seq: int
    duplicate: bool = False


@dataclass
class Started(Shape):
    """A plan runs. ``cursor`` is that of its PlanStarted."""

    plan_id: str
    cursor: str


@dataclass
class Cancelled(Shape):
    """The request to end is on disk. The end itself is a PlanFailed with reason ``cancelled``, or another end."""

    plan_id: str
    event_id: str
    cursor: str


@dataclass
class Question(Shape):
    """An open question of a plan: ``answer(plan_id, value, request_id)`` answers it."""

    request_id: str
    kind: str
    question: str
    for_plan_id: Optional[str] = None
    step: str = ""
    schema: Any = None
    expires_at: Optional[str] = None
    arguments: Optional[Json] = None
    arguments_digest: Optional[str] = None
    asked_at: Optional[str] = None
    seq: int = 0


@dataclass
class Plan(Shape):
    """A plan as the log has it. ``state``: ``open``, ``completed`` or ``failed``; then ``reason`` says why."""

    plan_id: str
    root_plan_id: str
    state: str
    parent_plan_id: Optional[str] = None
    depth: int = 0
    name: str = ""
    context_id: str = ""
    reason: Optional[str] = None
    document_digest: Optional[str] = None
    owner: Optional[str] = None
    started_at: str = ""
    ended_at: Optional[str] = None
    first: str = ""
    """Cursor of its PlanStarted."""
    last: Optional[str] = None
    """Cursor of its last event, once it has ended."""
    last_seq: Optional[int] = None
    """How many events it has, once it has ended."""
    fold: Optional[Json] = None
    """What its events add up to: steps, decisions, artifacts, outputs. Only from ``plan(plan_id)``."""
    questions: List[Question] = field(default_factory=list, metadata=list_of(Question))
    """What is open. Only from ``plan(plan_id)``."""


@dataclass
class Page(Shape):
    """A page of events or plans, as JSON."""

    next: Optional[str]
    events: List[Any] = field(default_factory=list)
    plans: List[Any] = field(default_factory=list)
    at_head: bool = False
    ended: bool = False
