"""The blocking client."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Optional, Type, Union

from . import calls
from .address import Address, Timeouts
from .event import BaseEvent
from .follow import Follow
from .following import Following, patient
from .http_sync import Http, Stream
from .results import Answered, Cancelled, Plan, Published, Started
from .retry import Retry
from .selection import EventTypes, Selection
from .subscription import Handler, OnError, Subscription, log_error
from .wire import Operation, Pause, Request, Result, Value

URL = "http://127.0.0.1:7420"
"""Where ``planwire serve`` listens unless it is told otherwise."""


class EventBus:
    """A client of one Planwire server; it may be shared by threads.

    ``token`` is that of the server's lock file, if you have it. ``retry`` says how long calls try again,
    ``follow_deadline_s`` how long a stream does (None: for ever). ``sleep`` is a parameter for tests.

    Every call raises a :class:`PlanwireError`; which of them mean "not stored", see :mod:`planwire.errors`.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        token: Optional[str] = None,
        retry: Optional[Retry] = None,
        timeouts: Optional[Timeouts] = None,
        follow_deadline_s: Optional[float] = None,
        sleep: Optional[Callable[[float], object]] = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http = Http(Address.of(url, token), self._timeouts)
        self._retry = retry or Retry()
        self._follow_retry = patient(self._retry, follow_deadline_s)
        self._sleep = sleep
        self._lock = threading.Lock()
        self._subscriptions: List[Subscription] = []

    def publish(self, event: BaseEvent) -> Published:
        """Stores one event; it is on disk when this returns.

        Sent again after a lost connection, a 503 and an unknown outcome, each time under the same ``event_id``: it is
        stored once. Raises :class:`RefusedError` if it may not follow what the log holds, :class:`EventInvalidError`,
        :class:`ConflictError`, :class:`EventError`, and after the deadline :class:`UnavailableError`,
        :class:`UnreachableError` or :class:`OutcomeUnknownError`.
        """
        return self.publish_all([event])[0]

    def publish_all(self, events: Iterable[BaseEvent]) -> List[Published]:
        """Stores events in their order, in requests of at most 1,000 events and 1 MiB.

        A request is stored whole or not at all. If a later one fails, the error's ``published`` has the answers to the
        earlier ones and ``unpublished`` the events that are left; ``index`` counts from the first event given.
        """
        return self._run(calls.publish_all(events, self._retry))

    def follow(
        self,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        event_types: Optional[EventTypes] = None,
        after: str = "start",
    ) -> Follow:
        """The events of a plan, a tree or the whole log, as they come, each once and in order.

        ``after``: ``start``, ``now``, or the cursor of the last event that you have dealt with. See :class:`Follow`.
        """
        selection = Selection.of(event_types, plan_id, tree)
        following = Following(selection, after, self._follow_retry)
        return Follow(following, Stream(self._http, self._timeouts), self._sleep)

    def subscribe(
        self,
        handler: Handler,
        event_types: Optional[EventTypes] = None,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        after: str = "now",
        on_error: OnError = log_error,
    ) -> Subscription:
        """Calls ``handler`` for each event that is stored after this returns, on a thread of its own.

        One event after the other; what the handler raises goes to ``on_error``, and the next event comes. Survives
        restarts of the server. Raises :class:`PlanUnknownError` if the plan has not started.
        """
        selection = Selection.of(event_types, plan_id, tree)
        page = self._run(calls.events_page(selection, after, 1, self._retry)) if after == "now" else None
        begin = page.next if page is not None and page.next is not None else after
        following = Following(selection, begin, self._follow_retry)
        follow = Follow(following, Stream(self._http, self._timeouts), self._sleep)
        subscription = Subscription(handler, follow, on_error)
        with self._lock:
            self._subscriptions = [each for each in self._subscriptions if not each.wait(0)]
            # Begun before another thread can find it: a thread that was not begun cannot be waited for.
            subscription.start()
            self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, handler: Handler) -> bool:
        """Ends all subscriptions of the handler; whether there was one. It is not running when this returns."""
        with self._lock:
            ours = [each for each in self._subscriptions if each.handler == handler]
            self._subscriptions = [each for each in self._subscriptions if each not in ours]
        for subscription in ours:
            subscription.stop()
        return bool(ours)

    def start(
        self,
        document: Union[str, Mapping[str, Any]],
        inputs: Optional[Mapping[str, Any]] = None,
        context_id: Optional[str] = None,
        *,
        plan_id: Optional[str] = None,
    ) -> Started:
        """Starts a plan: a registered document by its name, or a document (where the server allows it).

        Sent again safely: the plan has one id, made here, and is started once. With a ``plan_id`` of your own you can
        start again after an :class:`OutcomeUnknownError` too; :class:`PlanExistsError` then says that it was started.
        Raises :class:`DocumentError` for a document or inputs that do not fit.
        """
        return self._run(calls.start(document, inputs, context_id, plan_id, self._retry))

    def answer(
        self,
        plan_id: str,
        value: Any,
        request_id: Optional[str] = None,
        *,
        answered_by: Optional[str] = None,
        arguments_digest: Optional[str] = None,
        event_id: Optional[str] = None,
    ) -> Answered:
        """Answers a question of a plan; ``request_id`` may be left out if exactly one is open.

        The first answer counts. Sent again safely, like an event. Raises :class:`RefusedError` (``request_not_open``,
        ``arguments_changed``), :class:`AnswerInvalidError` if the value does not fit, :class:`PlanUnknownError`.
        """
        body = {
            "request_id": request_id,
            "value": value,
            "answered_by": answered_by,
            "arguments_digest": arguments_digest,
            "event_id": event_id,
        }
        return self._run(calls.answer(plan_id, body, self._retry))

    def cancel(self, plan_id: str, reason: str = "") -> Cancelled:
        """Asks that a plan and all below it end. Raises :class:`PlanEndedError`, :class:`PlanUnknownError`.

        Sent again if the outcome is unknown: then two requests may be stored, which together ask for one end.
        """
        return self._run(calls.cancel(plan_id, reason, self._retry))

    def plan(self, plan_id: str) -> Plan:
        """One plan, what its events add up to, and its open questions. Raises :class:`PlanUnknownError`."""
        return self._run(calls.plan(plan_id, self._retry))

    def plans(
        self, *, state: Optional[str] = None, roots: bool = True, tree: Optional[str] = None, page_size: int = 100
    ) -> Iterator[Plan]:
        """Root plans, newest first; all plans with ``roots=False``, one tree, oldest first, with ``tree``.

        ``state``: ``open``, ``completed`` or ``failed``. Asks for pages of at most 1,000 as you go.
        """
        query = calls.plans_query(state, roots, tree, page_size)
        while True:
            page = self._run(calls.plans_page(query, self._retry))
            yield from (calls.shaped(Plan, each) for each in page.plans)
            if page.next is None:
                return
            query["after"] = page.next

    def events(
        self,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        event_types: Optional[EventTypes] = None,
        after: str = "start",
        page_size: int = calls.PAGE_EVENTS_MAX,
    ) -> Iterator[BaseEvent]:
        """The events that are stored now, in order; asks for pages of at most 1,000 as you go."""
        selection = Selection.of(event_types, plan_id, tree)
        while True:
            page = self._run(calls.events_page(selection, after, page_size, self._retry))
            yield from calls.events_of(page)
            if page.at_head or page.next is None:
                return
            after = page.next

    def event(self, event_id: str) -> BaseEvent:
        """One event by its id. Raises :class:`ProblemError` (404) if it is not stored."""
        return self._run(calls.event(event_id, self._retry))

    def close(self) -> None:
        """Ends all subscriptions and closes idle connections. Streams of ``follow`` are yours to close."""
        with self._lock:
            subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            subscription.stop()
        self._http.close()

    def __enter__(self) -> EventBus:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _run(self, operation: Operation[Value]) -> Value:
        result: Result = None
        while True:
            try:
                step = operation.send(result)
            except StopIteration as stop:
                value: Value = stop.value
                return value
            if isinstance(step, Pause):
                (self._sleep or time.sleep)(step.seconds)
                result = None
            else:
                assert isinstance(step, Request)
                result = self._http.send(step)
