"""A stream of events as an iterator."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Callable, Iterator, Optional, Type

from .errors import Gap, GapError
from .event import BaseEvent
from .following import Following
from .http_sync import Stream
from .wire import Emit, Pause, Receive, Request, Result


class Follow(Iterator[BaseEvent]):
    """Events as they come: ``for event in bus.follow(plan_id): ...``.

    Ends with the plan (or tree); a stream of the whole log never ends. Connections that break are made anew and
    continued: each event comes once, in order. Raises :class:`GapError` where retention was faster; iterating on then
    goes on with what is kept. Raises :class:`ProblemError` for what trying again does not mend. ``close`` may be called
    from another thread and ends the iteration; ``with`` calls it.
    """

    def __init__(
        self, following: Following, stream: Stream, sleep: Optional[Callable[[float], object]] = None
    ) -> None:
        self._following = following
        self._stream = stream
        self._closed = threading.Event()
        self._sleep: Callable[[float], object] = sleep or self._closed.wait
        self._steps = following.steps()
        self._result: Result = None

    @property
    def cursor(self) -> Optional[str]:
        """Where to go on later, ``follow(after=cursor)``: behind the last event that was given."""
        return self._following.cursor

    def __iter__(self) -> Follow:
        return self

    def __next__(self) -> BaseEvent:
        while not self._closed.is_set():
            try:
                step = self._steps.send(self._result)
            except BaseException:
                self._stream.end()
                raise
            self._result = None
            if isinstance(step, Emit):
                if isinstance(step.item, Gap):
                    raise GapError(step.item)
                return step.item
            self._result = self._perform(step)
        self._stream.end()
        raise StopIteration

    def _perform(self, step: object) -> Result:
        if isinstance(step, Request):
            return self._stream.open(step)
        if isinstance(step, Receive):
            return self._stream.receive()
        assert isinstance(step, Pause)
        self._sleep(step.seconds)
        return None

    def close(self) -> None:
        """Ends the stream."""
        self._closed.set()
        self._stream.close()

    def __enter__(self) -> Follow:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()
        self._stream.end()
