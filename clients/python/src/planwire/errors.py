"""Everything that a call can fail with; all are :class:`PlanwireError`.

A call that writes ends in one of three ways: it returns (stored), it raises :class:`OutcomeUnknownError` (stored or
not: send it again under the same ids), or it raises anything else (certainly not stored).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Type

if TYPE_CHECKING:
    from .event import BaseEvent
    from .results import Published

TYPE_PREFIX = "urn:planwire:problem:"


class PlanwireError(Exception):
    """What all errors of this library are.

    Of a failed publish it also says how far it came: ``published`` are the answers to the events of earlier requests,
    ``unpublished`` the other events, which can be published again as they are.
    """

    published: Sequence[Published] = ()
    unpublished: Sequence[BaseEvent] = ()


class EventError(PlanwireError, ValueError):
    """An event cannot be sent: it is no JSON, or larger than a request may be. Nothing of the call was sent."""

    def __init__(self, detail: str, index: int) -> None:
        super().__init__(detail)
        self.index = index
        """Which of the events that were given, from 0."""


class ProtocolError(PlanwireError):
    """The answer is none of a Planwire server: another program listens there, say."""


class UnreachableError(PlanwireError):
    """The server cannot be reached, or breaks off, for longer than the deadline; nothing was stored."""


class OutcomeUnknownError(PlanwireError):
    """The server broke off before it said whether it had done what it was asked.

    After a publish or an answer with the same ids, sending it again is safe.
    """


@dataclass(frozen=True)
class Gap:
    """Events that a reader will never see, because retention removed them."""

    requested: str
    """The cursor after which the reader wanted to go on."""
    first_kept: str
    """The cursor of the first event that is kept; empty if the server did not say."""


class GapError(PlanwireError):
    """Events were removed before they were read. Iterating on continues with the first event that is kept."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"events after {gap.requested} were removed before they were read")
        self.gap = gap


class ProblemError(PlanwireError):
    """An answer of the server that is no success (problem+json, RFC 9457)."""

    def __init__(
        self, status: int, type: str, title: str, detail: str, members: Optional[Mapping[str, Any]] = None
    ) -> None:
        super().__init__(f"{status} {title}: {detail}" if detail else f"{status} {title}")
        self.status = status
        self.type = type
        """``urn:planwire:problem:event-refused``, say."""
        self.title = title
        self.detail = detail
        self.members: Dict[str, Any] = dict(members or {})
        """The members beside type, title, status and detail."""
        index = self.members.get("index")
        self.index: Optional[int] = index if isinstance(index, int) else None
        """Which of the events that were given it is about, from 0."""

    @property
    def slug(self) -> str:
        """The last part of ``type``: ``event-refused``, say."""
        return self.type[len(TYPE_PREFIX) :] if self.type.startswith(TYPE_PREFIX) else self.type


class UnavailableError(ProblemError):
    """503, or 429, for longer than the deadline; nothing was stored."""


class RefusedError(ProblemError):
    """An event may not follow what the log holds (409)."""

    @property
    def refusal(self) -> str:
        """Which rule: ``plan_not_started``, ``plan_ended``, ``not_owner``, ``request_not_open`` ..."""
        return str(self.members.get("refusal", ""))


class ConflictError(ProblemError):
    """The event id is stored with other content (409)."""


class EventInvalidError(ProblemError):
    """An event is none: a field is missing or has another type, or the payload is too large (400, 413)."""


class PlanUnknownError(ProblemError):
    """The log has no such plan (404)."""


class PlanExistsError(ProblemError):
    """A plan was started under this id before (409), perhaps by this very call before its answer was lost."""

    @property
    def plan_id(self) -> str:
        """The plan."""
        return str(self.members.get("plan_id", ""))

    @property
    def cursor(self) -> str:
        """The place of its PlanStarted."""
        return str(self.members.get("cursor", ""))


class PlanEndedError(ProblemError):
    """The plan has ended (409)."""


class AnswerInvalidError(ProblemError):
    """The value does not fit the schema of the question (400)."""

    @property
    def errors(self) -> List[Any]:
        """What does not fit, and where."""
        found = self.members.get("errors", [])
        return found if isinstance(found, list) else []


class DocumentError(ProblemError):
    """The document is not registered, has errors, may not be sent along, or the inputs do not fit it (403, 422)."""


class CursorError(ProblemError):
    """The cursor cannot be followed: malformed (400), of another log, or beyond the end of the log (409)."""


class CursorPrunedError(CursorError):
    """Retention removed what follows the cursor (410); ``after="start"`` begins with what is kept."""


PROBLEM_CLASSES: Dict[str, Type[ProblemError]] = {
    "event-refused": RefusedError,
    "event-conflict": ConflictError,
    "event-invalid": EventInvalidError,
    "payload-too-large": EventInvalidError,
    "plan-unknown": PlanUnknownError,
    "plan-exists": PlanExistsError,
    "plan-ended": PlanEndedError,
    "answer-invalid": AnswerInvalidError,
    "document-unregistered": DocumentError,
    "document-invalid": DocumentError,
    "inputs-invalid": DocumentError,
    "inline-document-refused": DocumentError,
    "cursor-malformed": CursorError,
    "cursor-other-log": CursorError,
    "cursor-beyond-head": CursorError,
    "cursor-pruned": CursorPrunedError,
}
"""Which class a problem has, by its slug; others are :class:`UnavailableError` or :class:`ProblemError`."""
