"""A handler that is called for events, in a task of its own."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, Awaitable, Callable, Optional, Union

from .async_follow import AsyncFollow
from .errors import GapError
from .event import BaseEvent
from .subscription import OnError, log

AsyncHandler = Callable[[BaseEvent], Union[Awaitable[Any], object]]
"""What is called with each event; it is awaited if it gives something to await."""


class AsyncSubscription:
    """Calls one handler for each event of a stream, one after the other, until the plan ends or it is stopped."""

    def __init__(self, handler: AsyncHandler, follow: AsyncFollow, on_error: OnError) -> None:
        self.handler = handler
        self.error: Optional[Exception] = None
        """What ended it; None as long as it runs, and after a proper end."""
        self._follow = follow
        self._on_error = on_error
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def cursor(self) -> Optional[str]:
        """Behind the last event that the handler was called with."""
        return self._follow.cursor

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    async def wait(self) -> None:
        """Waits for the end of the stream."""
        await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Ends it. When this returns, the handler is not running, unless it is the handler that calls this."""
        self._follow.close()
        if self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                async for event in self._follow:
                    await self._call(event)
                return
            except GapError as gap:
                self._report(gap)
            except Exception as error:
                self.error = error
                self._report(error)
                return

    async def _call(self, event: BaseEvent) -> None:
        try:
            result = self.handler(event)
            if inspect.isawaitable(result):
                await result
        except Exception as error:
            # The next event comes all the same: one handler's failure is not the log's.
            self._report(error)

    def _report(self, error: Exception) -> None:
        try:
            self._on_error(error)
        except Exception:
            log.exception("on_error failed")
