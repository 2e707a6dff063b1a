"""How long a run waits for the log, and callbacks that wait in threads and in event loops alike."""

from __future__ import annotations

import asyncio
import functools
import logging
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import Any, Callable, Generator, Optional, Protocol

from ..errors import OutcomeUnknownError
from .outbox import LostError, Outbox

log = logging.getLogger("planwire")

@dataclass(frozen=True)
class Wait:
    """Something to wait for, at most as long as patience lasts, or ``at_least_s``."""

    future: Future[Any]
    at_least_s: float = 0.0


Steps = Generator[Wait, Any, None]
"""A callback: it yields what it waits for, and is sent what came of it, or None."""


class Patience:
    """How long callbacks wait: at most ``wait_s`` each, and not at all while the server takes nothing.

    With ``raises`` a run does not go on unless what it is about to do is on disk: :class:`OutcomeUnknownError`.
    """

    def __init__(self, outbox: Outbox, wait_s: float, raises: bool) -> None:
        self._outbox = outbox
        self._wait_s = wait_s
        self._stalled_at: Optional[int] = None
        """How many events were on disk when somebody waited in vain; None if nobody has since."""
        self.raises = raises

    def seconds(self, wait: Wait) -> float:
        """How long to wait now."""
        if not self.raises and (self._outbox.outage or self._stalled_at == self._outbox.outcome.published):
            return 0.0
        return max(self._wait_s, wait.at_least_s)

    def result(self, wait: Wait) -> Any:
        """What came of it; None if it has not ended, or badly. Raises only if it is to."""
        try:
            return wait.future.result(0)
        except LostError:
            # It was logged when it was lost.
            if self.raises:
                raise
        except (FutureTimeout, CancelledError):
            wait.future.cancel()
            self._gave_up()
        except Exception as error:
            log.warning("the log was asked in vain: %s", error)
        return None

    def _gave_up(self) -> None:
        why = self._outbox.outage or f"no answer within {self._wait_s:g} s"
        if self.raises:
            raise OutcomeUnknownError(f"what the run is about to do is not on disk: {why}")
        if self._wait_s > 0 and self._stalled_at is None:
            log.warning("the run goes on, though its events are not on disk yet: %s", why)
        self._stalled_at = self._outbox.outcome.published


class Waiting(Protocol):
    """What a handler has, for its callbacks to wait."""

    patience: Patience

    def abandon(self, run_id: Any, error: BaseException) -> None:
        """A run will not start, since its callback was cancelled or raised: nobody will say how it ended."""


class Callback:
    """A callback that LangChain finds to be a coroutine function where an event loop runs, and a function elsewhere.

    LangChain calls plain functions of asynchronous runs in the event loop, which must not wait, or in its executor,
    where a cancelled run goes on; coroutines it awaits. Of runs in threads it would run coroutines in a loop for each.
    """

    def __init__(self, steps: Callable[..., Steps]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    def __get__(self, handler: Optional[Waiting], owner: object = None) -> Any:
        if handler is None:
            return self
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return functools.partial(self._call, handler)

        async def awaited(*arguments: Any, **named: Any) -> None:
            await self._acall(handler, *arguments, **named)

        return awaited

    def _call(self, handler: Waiting, *arguments: Any, **named: Any) -> None:
        patience, steps, came = handler.patience, self._steps(handler, *arguments, **named), None
        try:
            while True:
                wait = steps.send(came)
                wait_for([wait.future], patience.seconds(wait))
                came = patience.result(wait)
        except StopIteration:
            return
        except BaseException as error:
            _abandon(handler, named.get("run_id"), error)
            raise

    async def _acall(self, handler: Waiting, *arguments: Any, **named: Any) -> None:
        patience, steps, came = handler.patience, self._steps(handler, *arguments, **named), None
        try:
            while True:
                wait = steps.send(came)
                await asyncio.wait([_awaitable(wait.future)], timeout=patience.seconds(wait))
                came = patience.result(wait)
        except StopIteration:
            return
        except BaseException as error:
            _abandon(handler, named.get("run_id"), error)
            raise


def _abandon(handler: Waiting, run_id: Any, error: BaseException) -> None:
    """Where the run will not go on: LangChain does not say how a run ended whose start was not heard to its end."""
    if handler.patience.raises or not isinstance(error, Exception):
        handler.abandon(run_id, error)


def _awaitable(future: Future[Any]) -> asyncio.Future[Any]:
    """The future in this event loop, which says nothing if it fails after nobody waits for it any more."""
    wrapped = asyncio.wrap_future(future)
    wrapped.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return wrapped
