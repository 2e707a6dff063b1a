"""Splits events into requests that the server takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator, List

from .errors import EventError
from .event import BaseEvent
from .wire import to_bytes

REQUEST_EVENTS_MAX = 1_000
"""Events of one publish request."""

REQUEST_BYTES_MAX = 1024 * 1024
"""Bytes of one publish request."""

_OPEN, _CLOSE = b'{"events":[', b"]}"


@dataclass(frozen=True)
class Batch:
    """The events of one request, which is stored whole or not at all."""

    first: int
    """Place of its first event among all, from 0."""
    events: List[BaseEvent]
    body: bytes


def batches(events: Iterable[BaseEvent]) -> Iterator[Batch]:
    """Requests of at most 1,000 events and 1 MiB, in order.

    Raises :class:`EventError` for an event that is no JSON or alone is too large for a request.
    """
    taken: List[BaseEvent] = []
    texts: List[bytes] = []
    first, size = 0, len(_OPEN) + len(_CLOSE)
    for index, event in enumerate(events):
        text = encoded(event, index)
        if taken and (len(taken) == REQUEST_EVENTS_MAX or size + len(text) + 1 > REQUEST_BYTES_MAX):
            yield Batch(first, taken, _OPEN + b",".join(texts) + _CLOSE)
            taken, texts, first, size = [], [], index, len(_OPEN) + len(_CLOSE)
        taken.append(event)
        texts.append(text)
        size += len(text) + 1
    if taken:
        yield Batch(first, taken, _OPEN + b",".join(texts) + _CLOSE)


def encoded(event: BaseEvent, index: int) -> bytes:
    """The JSON of an event. Raises :class:`EventError`."""
    try:
        text = to_bytes(event.to_json())
    except (TypeError, ValueError, RecursionError) as error:
        raise EventError(f"event {index} ({event.event_type}) is no JSON: {error}", index) from error
    if len(text) + len(_OPEN) + len(_CLOSE) > REQUEST_BYTES_MAX:
        detail = f"event {index} ({event.event_type}) has {len(text)} bytes; a request has {REQUEST_BYTES_MAX}"
        raise EventError(detail, index)
    return text
