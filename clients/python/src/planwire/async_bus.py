"""The client for asyncio: the same as :class:`planwire.EventBus`, awaited."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Callable, Iterable, List, Mapping, Optional, Type, Union

from . import calls
from .address import Address, Timeouts
from .async_follow import AsyncFollow
from .async_subscription import AsyncHandler, AsyncSubscription
from .bus import URL
from .event import BaseEvent
from .following import Following, patient
from .http_async import AsyncHttp, AsyncStream
from .results import Answered, Cancelled, Plan, Published, Started
from .retry import Retry
from .selection import EventTypes, Selection
from .subscription import OnError, log_error
from .wire import Operation, Pause, Request, Result, Value


class AsyncEventBus:
    """A client of one Planwire server; it belongs to one event loop at a time.

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
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._http = AsyncHttp(Address.of(url, token), self._timeouts)
        self._retry = retry or Retry()
        self._follow_retry = patient(self._retry, follow_deadline_s)
        self._sleep = sleep
        self._subscriptions: List[AsyncSubscription] = []

    async def publish(self, event: BaseEvent) -> Published:
        """Stores one event; it is on disk when this returns.

        Sent again after a lost connection, a 503 and an unknown outcome, each time under the same ``event_id``: it is
        stored once. Raises :class:`RefusedError` if it may not follow what the log holds, :class:`EventInvalidError`,
        :class:`ConflictError`, :class:`EventError`, and after the deadline :class:`UnavailableError`,
        :class:`UnreachableError` or :class:`OutcomeUnknownError`.
        """
        return (await self.publish_all([event]))[0]

    async def publish_all(self, events: Iterable[BaseEvent]) -> List[Published]:
        """Stores events in their order, in requests of at most 1,000 events and 1 MiB.

        A request is stored whole or not at all. If a later one fails, the error's ``published`` has the answers to the
        earlier ones and ``unpublished`` the events that are left; ``index`` counts from the first event given.
        """
        return await self._run(calls.publish_all(events, self._retry))

    def follow(
        self,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        event_types: Optional[EventTypes] = None,
        after: str = "start",
    ) -> AsyncFollow:
        """The events of a plan, a tree or the whole log, as they come, each once and in order.

        ``after``: ``start``, ``now``, or the cursor of the last event that you have dealt with. See
        :class:`planwire.Follow`.
        """
        selection = Selection.of(event_types, plan_id, tree)
        following = Following(selection, after, self._follow_retry)
        return AsyncFollow(following, AsyncStream(self._http, self._timeouts), self._sleep)

    async def subscribe(
        self,
        handler: AsyncHandler,
        event_types: Optional[EventTypes] = None,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        after: str = "now",
        on_error: OnError = log_error,
    ) -> AsyncSubscription:
        """Calls ``handler`` for each event that is stored after this returns, in a task of its own.

        One event after the other; what the handler raises goes to ``on_error``, and the next event comes. Survives
        restarts of the server. Raises :class:`PlanUnknownError` if the plan has not started.
        """
        selection = Selection.of(event_types, plan_id, tree)
        page = await self._run(calls.events_page(selection, after, 1, self._retry)) if after == "now" else None
        begin = page.next if page is not None and page.next is not None else after
        following = Following(selection, begin, self._follow_retry)
        follow = AsyncFollow(following, AsyncStream(self._http, self._timeouts), self._sleep)
        subscription = AsyncSubscription(handler, follow, on_error)
        self._subscriptions = [each for each in self._subscriptions if not each.ended]
        self._subscriptions.append(subscription)
        return subscription

    async def unsubscribe(self, handler: AsyncHandler) -> bool:
        """Ends all subscriptions of the handler; whether there was one. It is not running when this returns."""
        ours = [each for each in self._subscriptions if each.handler == handler]
        self._subscriptions = [each for each in self._subscriptions if each not in ours]
        for subscription in ours:
            await subscription.stop()
        return bool(ours)

    async def start(
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
        return await self._run(calls.start(document, inputs, context_id, plan_id, self._retry))

    async def answer(
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
        return await self._run(calls.answer(plan_id, body, self._retry))

    async def cancel(self, plan_id: str, reason: str = "") -> Cancelled:
        """Asks that a plan and all below it end. Raises :class:`PlanEndedError`, :class:`PlanUnknownError`.

        Sent again if the outcome is unknown: then two requests may be stored, which together ask for one end.
        """
        return await self._run(calls.cancel(plan_id, reason, self._retry))

    async def plan(self, plan_id: str) -> Plan:
        """One plan, what its events add up to, and its open questions. Raises :class:`PlanUnknownError`."""
        return await self._run(calls.plan(plan_id, self._retry))

    async def plans(
        self, *, state: Optional[str] = None, roots: bool = True, tree: Optional[str] = None, page_size: int = 100
    ) -> AsyncIterator[Plan]:
        """Root plans, newest first; all plans with ``roots=False``, one tree, oldest first, with ``tree``.

        ``state``: ``open``, ``completed`` or ``failed``. Asks for pages of at most 1,000 as you go.
        """
        query = calls.plans_query(state, roots, tree, page_size)
        while True:
            page = await self._run(calls.plans_page(query, self._retry))
            for each in page.plans:
                yield calls.shaped(Plan, each)
            if page.next is None:
                return
            query["after"] = page.next

    async def events(
        self,
        plan_id: Optional[str] = None,
        *,
        tree: bool = False,
        event_types: Optional[EventTypes] = None,
        after: str = "start",
        page_size: int = calls.PAGE_EVENTS_MAX,
    ) -> AsyncIterator[BaseEvent]:
        """The events that are stored now, in order; asks for pages of at most 1,000 as you go."""
        selection = Selection.of(event_types, plan_id, tree)
        while True:
            page = await self._run(calls.events_page(selection, after, page_size, self._retry))
            for each in calls.events_of(page):
                yield each
            if page.at_head or page.next is None:
                return
            after = page.next

    async def event(self, event_id: str) -> BaseEvent:
        """One event by its id. Raises :class:`ProblemError` (404) if it is not stored."""
        return await self._run(calls.event(event_id, self._retry))

    async def close(self) -> None:
        """Ends all subscriptions and closes idle connections. Streams of ``follow`` are yours to close."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.stop()
        self._http.close()
        # Sockets are let go in the loop's next round, which a caller that ends with this would not see.
        await asyncio.sleep(0)

    async def __aenter__(self) -> AsyncEventBus:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def _run(self, operation: Operation[Value]) -> Value:
        result: Result = None
        while True:
            try:
                step = operation.send(result)
            except StopIteration as stop:
                value: Value = stop.value
                return value
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
                result = None
            else:
                assert isinstance(step, Request)
                result = await self._http.send(step)
