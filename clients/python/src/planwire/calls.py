"""The operations of the API other than streams: what is sent, when it is sent again, what the answer means."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Type, Union

from .batch import Batch, batches
from .errors import (
    OutcomeUnknownError,
    PlanExistsError,
    PlanwireError,
    ProblemError,
    ProtocolError,
    UnreachableError,
)
from .event import BaseEvent
from .results import Answered, Cancelled, Page, Plan, Published, Started
from .retry import Retry
from .selection import Selection
from .shape import Json, ShapeError, ShapeType, read
from .ulid import new_id
from .wire import (
    RETRYABLE,
    Lost,
    Operation,
    Pause,
    Request,
    Response,
    Result,
    Safety,
    get,
    path,
    post,
    post_bytes,
    problem_of,
    retry_after_s,
    with_query,
)

PAGE_EVENTS_MAX = 1_000
"""Events or plans of one page."""


def exchange(request: Request, retry: Retry) -> Operation[Response]:
    """Sends a request until it is answered with success.

    Sent again after a lost connection, 429, 502, 503, 504 and an unknown outcome, which is safe for all requests.
    """
    attempts = retry.begin()
    unknown = False
    while True:
        result: Result = yield request
        if isinstance(result, Response) and 200 <= result.status < 300:
            return result
        error, wait_s, maybe_done = failure_of(result)
        unknown = unknown or (maybe_done and request.safety is not Safety.READ)
        if isinstance(error, ProblemError) and error.status not in RETRYABLE:
            raise error
        if isinstance(error, ProtocolError):
            raise error
        pause = attempts.pause(wait_s)
        if pause is None:
            raise outcome_unknown(request, error) if unknown else error
        yield Pause(pause)


def failure_of(result: Result) -> Tuple[PlanwireError, float, bool]:
    """What went wrong, the pause that the server asks for, and whether the request may have been done."""
    if isinstance(result, Response):
        if result.status < 300:
            form = result.headers.get("content-type", "none")
            return ProtocolError(f"status {result.status} with content type {form}, which was not asked for"), 0.0, True
        if result.status < 400:
            return ProtocolError(f"the server redirects (status {result.status})"), 0.0, False
        problem = problem_of(result)
        maybe_done = problem.slug == "outcome-unknown" or result.status in (502, 504)
        return problem, retry_after_s(result), maybe_done
    if isinstance(result, Lost):
        if isinstance(result.error, PlanwireError):
            return result.error, 0.0, result.sent
        reason = str(result.error) or type(result.error).__name__
        error = UnreachableError(f"the server broke off: {reason}" if result.sent else f"no connection: {reason}")
        error.__cause__ = result.error
        return error, 0.0, result.sent
    raise AssertionError("a request is answered or lost")


def outcome_unknown(request: Request, cause: PlanwireError) -> OutcomeUnknownError:
    """What is raised if nobody knows whether a request was done."""
    error = OutcomeUnknownError(f"{request.method} {request.target} may have been done or not; last: {cause}")
    error.__cause__ = cause
    return error


def publish_all(events: Iterable[BaseEvent], retry: Retry) -> Operation[List[Published]]:
    """Publishes events in order, in as many requests as they need."""
    given = list(events)
    published: List[Published] = []
    for batch in list(batches(given)):
        try:
            published += yield from publish_batch(batch, retry)
        except PlanwireError as error:
            error.published = tuple(published)
            error.unpublished = tuple(given[batch.first :])
            if isinstance(error, ProblemError) and error.index is not None:
                error.index += batch.first
            raise
    return published


def publish_batch(batch: Batch, retry: Retry) -> Operation[List[Published]]:
    """Publishes the events of one request."""
    request = post_bytes(path("v1", "events"), batch.body, Safety.REPEATABLE)
    response = yield from exchange(request, retry)
    answer = response.json()
    rows = answer.get("events") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != len(batch.events):
        raise ProtocolError("the answer to a publish does not have one place for each event")
    places = [shaped(Published, row) for row in rows]
    for event, place in zip(batch.events, places):
        if place.event_id.upper() != event.event_id.upper():
            raise ProtocolError(f"the answer names event {place.event_id} where {event.event_id} was sent")
    return places


def start(
    document: Union[str, Mapping[str, Any]],
    inputs: Optional[Mapping[str, Any]],
    context_id: Optional[str],
    plan_id: Optional[str],
    retry: Retry,
) -> Operation[Started]:
    """Starts a plan under an id that is made here, so that asking again starts it once."""
    body: Json = {"document": document if isinstance(document, str) else dict(document)}
    body["plan_id"] = plan_id if plan_id is not None else new_id()
    body.update({"inputs": dict(inputs)} if inputs is not None else {})
    body.update({"context_id": context_id} if context_id is not None else {})
    try:
        response = yield from exchange(post(path("v1", "plans"), body, Safety.REPEATABLE), retry)
    except PlanExistsError as error:
        if plan_id is not None:
            raise
        # Nobody else knows the id: an attempt of ours was carried out, and its answer was lost.
        return Started(error.plan_id, error.cursor)
    return shaped(Started, response.json())


def answer(plan_id: str, body: Mapping[str, Any], retry: Retry) -> Operation[Answered]:
    """Answers a question; ``body`` without what is None."""
    given = {name: value for name, value in body.items() if value is not None or name == "value"}
    given.setdefault("event_id", new_id())
    request = post(path("v1", "plans", plan_id, "answer"), given, Safety.REPEATABLE)
    response = yield from exchange(request, retry)
    return shaped(Answered, response.json())


def cancel(plan_id: str, reason: str, retry: Retry) -> Operation[Cancelled]:
    """Asks for the end of a plan. Asking twice is asking once: it may be sent again."""
    request = post(path("v1", "plans", plan_id, "cancel"), {"reason": reason}, Safety.REPEATABLE)
    response = yield from exchange(request, retry)
    return shaped(Cancelled, response.json())


def plan(plan_id: str, retry: Retry) -> Operation[Plan]:
    """One plan with what its events add up to."""
    response = yield from exchange(get(path("v1", "plans", plan_id)), retry)
    found = response.json()
    if isinstance(found, dict) and "questions" not in found and isinstance(found.get("fold"), dict):
        found["questions"] = found["fold"].get("questions", [])
    return shaped(Plan, found)


def plans_page(query: Mapping[str, Optional[str]], retry: Retry) -> Operation[Page]:
    """A page of plans."""
    response = yield from exchange(get(with_query(path("v1", "plans"), list(query.items()))), retry)
    return shaped(Page, response.json())


def events_page(selection: Selection, after: str, limit: int, retry: Retry) -> Operation[Page]:
    """A page of events."""
    response = yield from exchange(get(selection.target(after, limit)), retry)
    return shaped(Page, response.json())


def event(event_id: str, retry: Retry) -> Operation[BaseEvent]:
    """One event."""
    response = yield from exchange(get(path("v1", "events", event_id)), retry)
    return event_of(response.json())


def shaped(shape: Type[ShapeType], value: Any) -> ShapeType:
    """Reads an answer. Raises :class:`ProtocolError`."""
    try:
        return read(shape, value)
    except ShapeError as error:
        raise ProtocolError(f"the answer is none of a Planwire server: {error}") from error


def event_of(value: Any) -> BaseEvent:
    """Reads an event of an answer. Raises :class:`ProtocolError`."""
    try:
        return BaseEvent.from_json(value)
    except ShapeError as error:
        raise ProtocolError(f"the answer is none of a Planwire server: {error}") from error


def events_of(page: Page) -> Sequence[BaseEvent]:
    """The events of a page."""
    return [event_of(each) for each in page.events]


def plans_query(state: Optional[str], roots: bool, tree: Optional[str], page_size: int) -> Dict[str, Optional[str]]:
    """The query of a list of plans."""
    all_plans = None if roots or tree is not None else "false"
    return {"state": state, "roots": all_plans, "tree": tree, "limit": str(page_size)}
