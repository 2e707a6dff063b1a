"""Requests and answers as values, and what an operation asks of whoever runs it.

An operation is a generator: it yields a step (send this, wait so long) and is sent the result of the step. It never
touches a socket or a clock, so that :class:`~planwire.EventBus` and :class:`~planwire.AsyncEventBus` run the same
operations, and tests run them without either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generator, Generic, Mapping, Optional, Sequence, Tuple, TypeVar, Union
from urllib.parse import quote, urlencode

from .errors import PROBLEM_CLASSES, ProblemError, ProtocolError, UnavailableError

RESPONSE_BYTES_MAX = 512 * 1024 * 1024
"""Bytes of an answer: a page of 1,000 events of 256 KiB, and as much again for escapes."""

Item = TypeVar("Item")


class Safety(Enum):
    """What happens if a request is sent twice."""

    READ = "read"
    """Nothing: it changes nothing."""
    REPEATABLE = "repeatable"
    """Nothing: it carries ids, under which the server does it once."""


@dataclass(frozen=True)
class Request:
    """A request; ``target`` begins behind the server's address. With ``stream`` the body is read piece by piece."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Optional[bytes] = None
    safety: Safety = Safety.READ
    stream: bool = False


@dataclass(frozen=True)
class Response:
    """An answer that is here whole. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises :class:`ProtocolError`."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise ProtocolError(f"the answer (status {self.status}) is no JSON") from None


@dataclass(frozen=True)
class Lost:
    """There is no answer, or not the whole."""

    error: Exception
    sent: bool
    """Whether the server may have got the request."""


@dataclass(frozen=True)
class Opened:
    """The head of an answer with status 200 is here; its body is a stream."""

    headers: Mapping[str, str]


@dataclass(frozen=True)
class Receive:
    """A step: the next bytes of the stream, empty at its end."""


@dataclass(frozen=True)
class Pause:
    """A step: wait."""

    seconds: float


@dataclass(frozen=True)
class Emit(Generic[Item]):
    """A step: hand this to the caller."""

    item: Item


Result = Union[Response, Lost, Opened, bytes, None]
"""Of a Request: Response, Lost, or Opened if it asked for a stream. Of Receive: bytes or Lost. Of the others: None."""

Value = TypeVar("Value")
Operation = Generator[Union[Request, Pause], Result, Value]
"""Steps that lead to a value."""


def path(*segments: str) -> str:
    """A path, each segment escaped."""
    return "".join("/" + quote(segment, safe="") for segment in segments)


def with_query(target: str, pairs: Sequence[Tuple[str, Optional[str]]]) -> str:
    """Adds those parameters that have a value."""
    given = [(name, value) for name, value in pairs if value is not None]
    return f"{target}?{urlencode(given)}" if given else target


def to_bytes(value: Any) -> bytes:
    """JSON as it is sent. Raises ValueError or TypeError for what JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def post(target: str, value: Any, safety: Safety) -> Request:
    """A POST of JSON."""
    return post_bytes(target, to_bytes(value), safety)


def post_bytes(target: str, body: bytes, safety: Safety) -> Request:
    """A POST of bytes that are JSON."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return Request("POST", target, headers, body, safety)


def get(target: str) -> Request:
    """A GET of JSON."""
    return Request("GET", target, {"Accept": "application/json"})


def problem_of(response: Response) -> ProblemError:
    """The error that an answer other than 2xx stands for."""
    try:
        members = json.loads(response.body)
    except ValueError:
        members = None
    members = dict(members) if isinstance(members, dict) else {}
    type_ = str(members.pop("type", "about:blank"))
    title = str(members.pop("title", "no success"))
    detail = str(members.pop("detail", ""))
    members.pop("status", None)
    kind = UnavailableError if response.status in RETRYABLE else ProblemError
    problem = ProblemError(response.status, type_, title, detail, members)
    return PROBLEM_CLASSES.get(problem.slug, kind)(response.status, type_, title, detail, members)


RETRYABLE = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed; 502 and 504 come from a proxy."""


def retry_after_s(response: Response) -> float:
    """Seconds that the server asks for; 0 if it does not."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


