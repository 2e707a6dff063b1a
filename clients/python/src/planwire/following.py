"""The operation of a stream: connect, read, come back behind the last event, end.

**Invariant:** an event is emitted once, in the order of positions, and ``cursor`` is the place behind the last one that
was emitted. What was received and not yet emitted is not lost: it lies in this process, or is asked for again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Generator, Optional, Union

from .calls import event_of, failure_of
from .errors import CursorPrunedError, Gap, ProblemError, ProtocolError
from .event import BaseEvent
from .retry import Attempts, Retry
from .selection import Selection
from .sse import Frame, FrameReader
from .wire import RETRYABLE, Emit, Lost, Opened, Pause, Receive, Request, Response, Result

RECONNECT_MS = 1_000
"""When to come back where the server did not say (``retry:``)."""

Given = Union[BaseEvent, Gap]
"""What a stream gives."""

Steps = Generator[Union[Request, Receive, Pause, Emit[Given]], Result, None]


@dataclass
class _Lap:
    """What one connection brought."""

    ended: bool = False
    heard: bool = False
    overtaken: bool = False


class Following:
    """Follows a selection of events across any number of connections."""

    def __init__(self, selection: Selection, after: str, retry: Retry) -> None:
        if not (after.isascii() and after.isprintable() and after):
            raise ValueError(f"{after!r} is neither start, now nor a cursor")
        self.selection = selection
        self.cursor: Optional[str] = after if after not in ("start", "now") else None
        """Where to go on: behind the last event that was emitted. None before the first connection."""
        self._after = after
        self._retry = retry
        self._retry_ms = RECONNECT_MS
        self._position = 0
        self._seq: Optional[int] = 0 if after == "start" else None

    def steps(self) -> Steps:
        """Runs to the end of the plan, or for ever. Raises what cannot be mended by trying again."""
        attempts = self._retry.begin()
        while True:
            result = yield self._request()
            if isinstance(result, Opened):
                lap = yield from self._read()
                if lap.ended:
                    return
                if lap.overtaken:
                    continue
                if lap.heard:
                    attempts = self._retry.begin()
                    yield Pause(self._retry_ms / 1000)
                    continue
                result = Lost(ConnectionError("the stream ended before its first frame"), sent=True)
            elif isinstance(result, Response) and result.status == 204:
                return
            pruned = yield from self._try_again(result, attempts)
            if pruned:
                attempts = self._retry.begin()

    def _request(self) -> Request:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
            return Request("GET", self.selection.target(), headers, stream=True)
        return Request("GET", self.selection.target(self._after), headers, stream=True)

    def _try_again(self, result: Result, attempts: Attempts) -> Generator[Union[Pause, Emit[Given]], Result, bool]:
        """Waits after a failure; true if retention overtook the reader. Raises if trying again is no use."""
        error, wait_s, _ = failure_of(result)
        if isinstance(error, CursorPrunedError) and self.cursor is not None:
            kept = error.members.get("first_kept", "")
            yield from self._skip(Gap(self.cursor, kept if isinstance(kept, str) else ""))
            return True
        if isinstance(error, ProtocolError):
            raise error
        if isinstance(error, ProblemError) and error.status not in RETRYABLE:
            raise error
        pause = attempts.pause(wait_s)
        if pause is None:
            raise error
        yield Pause(pause)
        return False

    def _skip(self, gap: Gap) -> Generator[Emit[Given], Result, None]:
        """Begins anew with what is kept; what was emitted before is recognised by its position."""
        self.cursor, self._after, self._seq = None, "start", None
        yield Emit(gap)

    def _read(self) -> Generator[Union[Receive, Emit[Given]], Result, _Lap]:
        """Reads one connection to its end."""
        reader, lap = FrameReader(), _Lap()
        while True:
            chunk = yield Receive()
            if not isinstance(chunk, bytes) or not chunk:
                return lap
            for frame in reader.feed(chunk):
                lap.heard = True
                yield from self._take(frame, lap)
                if lap.ended or lap.overtaken:
                    return lap

    def _take(self, frame: Frame, lap: _Lap) -> Generator[Emit[Given], Result, None]:
        if frame.retry_ms is not None:
            self._retry_ms = frame.retry_ms
        if frame.event == "gap" and frame.data is not None:
            lap.overtaken = True
            yield from self._skip(_gap_of(frame.data, self.cursor or ""))
            return
        if frame.data is not None and frame.event != "end":
            yield from self._event(event_of(_json(frame.data)))
        if frame.id:
            self.cursor = frame.id
        lap.ended = frame.event == "end"

    def _event(self, event: BaseEvent) -> Generator[Emit[Given], Result, None]:
        """Emits an event, unless it was emitted before; before it a gap, if one of its plan is missing."""
        place = event.stored
        if place is None:
            raise ProtocolError(f"event {event.event_id} of the stream has no position")
        if place.position <= self._position:
            return
        if self.selection.counts_up:
            if self._seq is not None and place.seq != self._seq + 1:
                yield Emit(Gap(self.cursor or "", place.cursor))
            self._seq = place.seq
        self._position = place.position
        # Behind it before it is handed out: whoever asks for the cursor holds the event.
        self.cursor = place.cursor
        yield Emit(event)


def _json(data: str) -> object:
    try:
        found: object = json.loads(data)
    except ValueError:
        raise ProtocolError("a frame of the stream is no JSON") from None
    return found


def _gap_of(data: str, cursor: str) -> Gap:
    members = _json(data)
    given = members if isinstance(members, dict) else {}
    return Gap(str(given.get("requested", cursor)), str(given.get("first_kept", "")))


def patient(retry: Retry, deadline_s: Optional[float]) -> Retry:
    """The same pauses with another deadline."""
    return replace(retry, deadline_s=deadline_s)
