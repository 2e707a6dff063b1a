"""What waits to be published: one queue, one thread, so that the order of callbacks is the order of the log.

**Invariant:** what the log holds of a tree is a beginning of what was put in. An event that can never be stored takes
with it all that follows in its tree; they are counted as lost, and it is said once. An outage loses nothing: the same
events, under the same ids, are sent until they are stored, or until too much waits.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, Optional, Sequence, Tuple, TypeVar, Union

from ..bus import EventBus
from ..errors import ConflictError, EventError, EventInvalidError, PlanwireError, RefusedError
from ..event import BaseEvent
from ..events import InputReceived

log = logging.getLogger("planwire")

WAITING_EVENTS_MAX = 20_000
"""Events that may wait for the server."""

WAITING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of them, about."""

REQUEST_EVENTS_MAX = 500
"""Events that are taken from the queue at a time."""

IDLE_S = 2.0
"""The thread ends when it had nothing to do for so long; the next event starts another."""

PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0
"""Pauses of an outage, beyond those of the bus."""

EXIT_S = 5.0
"""How long the end of the process waits for what is not on disk yet, all handlers together."""

LOST_TREES_MAX = 10_000
"""Trees of which it is remembered that they are lost."""

_OF_AN_EVENT = (RefusedError, ConflictError, EventInvalidError, EventError)
"""Errors that an event brings with it; all others are about the server, and pass."""

Answer = TypeVar("Answer")


class LostError(PlanwireError):
    """An event will not be stored: it was refused, an earlier one of its tree was, or too much waited already."""


@dataclass(frozen=True)
class Outcome:
    """What became of the events so far."""

    published: int
    """On disk."""
    waiting: int
    """Not yet on disk."""
    lost: int
    """Never on disk; the logger ``planwire`` has said why."""


@dataclass
class Item:
    """An event that waits."""

    tree: str
    event: BaseEvent
    size_bytes: int
    receipt: Optional[Future[None]]


@dataclass
class Job:
    """Something else that is done when all that was put in before is on disk."""

    act: Callable[[], None]


class Outbox:
    """Publishes what is put in, in order, on a thread of its own. It may be shared by threads."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._condition = threading.Condition()
        self._queue: Deque[Union[Item, Job]] = deque()
        self._waiting = self._waiting_bytes = self._published = self._lost = 0
        self._lost_trees: Dict[str, str] = {}
        self._thread: Optional[threading.Thread] = None
        self._closed = False
        self._outage = ""
        _OUTBOXES.add(self)

    @property
    def outcome(self) -> Outcome:
        """What became of the events so far."""
        with self._condition:
            return Outcome(self._published, self._waiting, self._lost)

    @property
    def outage(self) -> str:
        """Why the server does not take events at the moment; empty if it does."""
        return self._outage

    def put(self, tree: str, events: Sequence[Tuple[BaseEvent, int]]) -> Future[None]:
        """Puts events of a tree in, each with its size in bytes.

        The future ends when they are on disk, or with :class:`LostError` when they never will be.
        """
        receipt: Future[None] = Future()
        size_bytes = sum(size for _, size in events)
        with self._condition:
            reason = self._lost_trees.get(tree) or self._no_room(len(events), size_bytes)
            if reason:
                self._lose(tree, len(events), reason)
                receipt.set_exception(LostError(reason))
                return receipt
            self._queue.extend(Item(tree, event, size, None) for event, size in events)
            last = self._queue[-1]
            assert isinstance(last, Item)
            last.receipt = receipt
            self._waiting += len(events)
            self._waiting_bytes += size_bytes
            self._wake()
        return receipt

    def ask(self, question: Callable[[EventBus], Answer]) -> Future[Answer]:
        """Asks the server something, behind everything that was put in before."""
        answer: Future[Answer] = Future()

        def act() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(question(self._bus))
            except Exception as error:
                answer.set_exception(error)

        with self._condition:
            if self._closed:
                answer.set_exception(LostError("the handler is closed"))
                return answer
            self._queue.append(Job(act))
            self._wake()
        return answer

    def flush(self, timeout_s: Optional[float] = None) -> bool:
        """Waits until nothing waits any more; whether that is so."""
        with self._condition:
            return self._condition.wait_for(lambda: self._waiting == 0, timeout_s)

    def close(self, timeout_s: Optional[float]) -> bool:
        """Waits as ``flush`` does, and takes nothing more. What still waits then is given up, and that is said."""
        flushed = self.flush(timeout_s)
        with self._condition:
            if not self._closed and not flushed:
                log.error("%d events were not published: %s", self._waiting, self._outage or "the time is over")
            self._closed = True
            self._condition.notify_all()
        return flushed

    def _no_room(self, count: int, size_bytes: int) -> str:
        if self._closed:
            return "the handler is closed"
        if self._waiting + count > WAITING_EVENTS_MAX or self._waiting_bytes + size_bytes > WAITING_BYTES_MAX:
            return f"{self._waiting} events of {self._waiting_bytes} bytes wait already ({self._outage or 'too fast'})"
        return ""

    def _lose(self, tree: str, count: int, reason: str) -> None:
        """Counts events of a tree as lost, and all that come later. The condition is held."""
        if tree not in self._lost_trees:
            log.error("plan %s: its events are lost from here on: %s", tree, reason)
            if len(self._lost_trees) >= LOST_TREES_MAX:
                del self._lost_trees[next(iter(self._lost_trees))]
            self._lost_trees[tree] = reason
        self._lost += count

    def _wake(self) -> None:
        """Sees to it that somebody works. The condition is held."""
        # After an idle time there is no thread, and after a fork it is there in the parent only.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="planwire-langgraph", daemon=True)
            self._thread.start()
        self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: bool(self._queue) or self._closed, IDLE_S)
                if not self._queue or (self._closed and self._outage):
                    # Set while the condition is held: whoever puts something in after this starts another thread.
                    self._thread = None
                    return
                taken = self._take()
            if isinstance(taken, Job):
                taken.act()
            else:
                self._publish(taken)

    def _take(self) -> Union[Job, List[Item]]:
        """The next job, or the events up to it that one request may have. The condition is held."""
        first = self._queue.popleft()
        if isinstance(first, Job):
            return first
        items = [first]
        while self._queue and len(items) < REQUEST_EVENTS_MAX:
            following = self._queue[0]
            if isinstance(following, Job):
                break
            items.append(following)
            self._queue.popleft()
        return items

    def _publish(self, items: List[Item]) -> None:
        """Publishes events, for as long as it takes or until the outbox is closed."""
        failures = 0
        while items:
            try:
                self._bus.publish_all([item.event for item in items])
                self._stored(items)
                return
            except PlanwireError as error:
                before = len(error.published)
                self._stored(items[:before])
                items = items[before:]
                index = getattr(error, "index", None)
                if isinstance(error, _OF_AN_EVENT) and index is not None and 0 <= index - before < len(items):
                    items, failures = self._without(items, index - before, error), 0
                    continue
                reason: Exception = error
            except Exception as error:
                log.exception("publishing failed in a way that nobody thought of")
                reason = error
            failures += 1
            if not self._pause(reason, failures):
                return

    def _stored(self, items: Sequence[Item]) -> None:
        """Notes that events are on disk."""
        if not items:
            return
        with self._condition:
            if self._outage:
                log.warning("the server takes events again; %d wait", self._waiting)
                self._outage = ""
            self._published += len(items)
            self._let_go(items)
        for item in items:
            _resolve(item, None)

    def _without(self, items: List[Item], place: int, error: PlanwireError) -> List[Item]:
        """Deals with an event that will never be stored; gives those that are still to be sent."""
        bad = items[place]
        if isinstance(error, RefusedError) and isinstance(bad.event, InputReceived):
            if error.refusal == "request_not_open":
                # The first answer counts, and there was one: on the page, say, whose reader then resumed the graph.
                with self._condition:
                    self._let_go([bad])
                _resolve(bad, None)
                return items[:place] + items[place + 1 :]
        reason = f"{bad.event.event_type} {bad.event.event_id} of plan {bad.event.plan_id}: {error}"
        lost = [item for item in items[place:] if item.tree == bad.tree]
        kept = items[:place] + [item for item in items[place:] if item.tree != bad.tree]
        with self._condition:
            lost += [item for item in self._queue if isinstance(item, Item) and item.tree == bad.tree]
            self._queue = deque(each for each in self._queue if isinstance(each, Job) or each.tree != bad.tree)
            self._lose(bad.tree, len(lost), reason)
            self._let_go(lost)
        for item in lost:
            _resolve(item, LostError(reason))
        return kept

    def _let_go(self, items: Sequence[Item]) -> None:
        """Counts events as waiting no more. The condition is held."""
        self._waiting -= len(items)
        self._waiting_bytes -= sum(item.size_bytes for item in items)
        self._condition.notify_all()

    def _pause(self, error: Exception, failures: int) -> bool:
        """Waits before the next attempt; False if there is to be none."""
        pause_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(failures - 1, 16))
        with self._condition:
            if not self._outage:
                log.warning("%d events wait, since the server does not take them: %s", self._waiting, error)
            self._outage = str(error) or type(error).__name__
            return not self._condition.wait_for(lambda: self._closed, pause_s)


def _resolve(item: Item, error: Optional[Exception]) -> None:
    """Tells whoever waits for an event, unless he went away."""
    if item.receipt is None or not item.receipt.set_running_or_notify_cancel():
        return
    if error is None:
        item.receipt.set_result(None)
    else:
        item.receipt.set_exception(error)


_OUTBOXES: weakref.WeakSet[Outbox] = weakref.WeakSet()


def _at_exit() -> None:
    end = time.monotonic() + EXIT_S
    for outbox in list(_OUTBOXES):
        outbox.close(max(0.0, end - time.monotonic()))


atexit.register(_at_exit)
