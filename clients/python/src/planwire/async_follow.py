"""A stream of events as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import AsyncIterator, Awaitable, Callable, Optional, Type

from .errors import Gap, GapError
from .event import BaseEvent
from .following import Following
from .http_async import AsyncStream
from .wire import Emit, Pause, Receive, Request, Result


class AsyncFollow(AsyncIterator[BaseEvent]):
    """Events as they come: ``async for event in bus.follow(plan_id): ...``. See :class:`planwire.Follow`.

    One task iterates at a time. Cancelling a wait loses nothing: ``asyncio.wait_for(follow.__anext__(), 1.0)`` can be
    called again and again. A stream that is not read to its end is closed by ``close`` or ``async with``.
    """

    def __init__(
        self, following: Following, stream: AsyncStream, sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._following = following
        self._stream = stream
        self._sleep = sleep
        self._steps = following.steps()
        self._result: Result = None
        self._closed = False
        self._step: Optional[asyncio.Task[Result]] = None
        """What is under way. It outlives a wait for it that is cancelled, and the next wait goes on with it."""

    @property
    def cursor(self) -> Optional[str]:
        """Where to go on later, ``follow(after=cursor)``: behind the last event that was given."""
        return self._following.cursor

    def __aiter__(self) -> AsyncFollow:
        return self

    async def __anext__(self) -> BaseEvent:
        while not self._closed:
            if self._step is None:
                try:
                    step = self._steps.send(self._result)
                except StopIteration:
                    break
                except BaseException:
                    self.close()
                    raise
                self._result = None
                if isinstance(step, Emit):
                    if isinstance(step.item, Gap):
                        raise GapError(step.item)
                    return step.item
                self._step = asyncio.get_running_loop().create_task(self._perform(step))
            try:
                self._result = await asyncio.shield(self._step)
            except asyncio.CancelledError:
                if self._closed:
                    break
                raise
            self._step = None
        self.close()
        raise StopAsyncIteration

    async def _perform(self, step: object) -> Result:
        if isinstance(step, Request):
            return await self._stream.open(step)
        if isinstance(step, Receive):
            return await self._stream.receive()
        assert isinstance(step, Pause)
        await self._sleep(step.seconds)
        return None

    def close(self) -> None:
        """Ends the stream, and with it a wait for its next event."""
        self._closed = True
        if self._step is not None:
            self._step.cancel()
        self._stream.close()

    async def __aenter__(self) -> AsyncFollow:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
