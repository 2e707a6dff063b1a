"""Client of Planwire, the durable event log of plan execution.

:class:`EventBus` publishes, follows, starts, answers and cancels; :class:`AsyncEventBus` does the same for asyncio.
It needs nothing but the standard library. What the events mean and what is guaranteed stands in EVENTS.md.

The rooms, from the bottom up: ``ulid``, ``shape``, ``event`` and ``events`` are values; ``wire``, ``sse``, ``chunked``,
``batch`` and ``retry`` know the protocol; ``calls`` and ``following`` are the operations, which touch neither sockets
nor clocks; ``http_sync`` and ``http_async`` are the sockets; ``bus`` and ``async_bus`` put them together.
"""

from .address import Timeouts
from .async_bus import AsyncEventBus
from .async_follow import AsyncFollow
from .async_subscription import AsyncSubscription
from .bus import URL, EventBus
from .errors import (
    AnswerInvalidError,
    ConflictError,
    CursorError,
    CursorPrunedError,
    DocumentError,
    EventError,
    EventInvalidError,
    Gap,
    GapError,
    OutcomeUnknownError,
    PlanEndedError,
    PlanExistsError,
    PlanUnknownError,
    PlanwireError,
    ProblemError,
    ProtocolError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from .event import EVENT_CLASSES, BaseEvent, CustomEvent, Stored
from .events import (
    Alternative,
    ArtifactPart,
    ArtifactProduced,
    Blob,
    CancelRequested,
    Counts,
    DecisionMade,
    DecisionOption,
    Failure,
    InputReceived,
    InputRequested,
    LimitHit,
    LimitWarned,
    Origin,
    PauseRequested,
    PlanAdopted,
    PlanCompleted,
    PlanFailed,
    PlanStarted,
    Reserved,
    ResumeRequested,
    SubplanCompleted,
    SubplanSpawned,
    ToolCalled,
    ToolCompleted,
    ToolProgress,
    UsageSum,
)
from .follow import Follow
from .results import Answered, Cancelled, Plan, Published, Question, Started
from .retry import Retry
from .shape import ShapeError
from .subscription import Subscription
from .ulid import new_id

__version__ = "0.1.0"

__all__ = [
    "EVENT_CLASSES",
    "URL",
    "Alternative",
    "AnswerInvalidError",
    "Answered",
    "ArtifactPart",
    "ArtifactProduced",
    "AsyncEventBus",
    "AsyncFollow",
    "AsyncSubscription",
    "BaseEvent",
    "Blob",
    "CancelRequested",
    "Cancelled",
    "ConflictError",
    "Counts",
    "CursorError",
    "CursorPrunedError",
    "CustomEvent",
    "DecisionMade",
    "DecisionOption",
    "DocumentError",
    "EventBus",
    "EventError",
    "EventInvalidError",
    "Failure",
    "Follow",
    "Gap",
    "GapError",
    "InputReceived",
    "InputRequested",
    "LimitHit",
    "LimitWarned",
    "Origin",
    "OutcomeUnknownError",
    "Plan",
    "PauseRequested",
    "PlanAdopted",
    "PlanCompleted",
    "PlanEndedError",
    "PlanExistsError",
    "PlanFailed",
    "PlanStarted",
    "PlanUnknownError",
    "PlanwireError",
    "ProblemError",
    "ProtocolError",
    "Published",
    "Question",
    "RefusedError",
    "Reserved",
    "Retry",
    "ShapeError",
    "Started",
    "Stored",
    "SubplanCompleted",
    "SubplanSpawned",
    "Subscription",
    "Timeouts",
    "ToolCalled",
    "ToolCompleted",
    "ToolProgress",
    "UnavailableError",
    "UnreachableError",
    "UsageSum",
    "new_id",
]
