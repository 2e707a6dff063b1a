"""What exceptions of a run mean in a plan."""

from __future__ import annotations

import asyncio

from langgraph.errors import GraphDrained, GraphRecursionError, NodeTimeoutError

from ..events import Failure
from .plain import text_of

MESSAGE_CHARS_MAX = 2_000
"""Characters of an exception's text."""

_CANCELLED = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)

_MESSAGES = {
    "GeneratorExit": "the stream was closed before its end",
    "CancelledError": "the task was cancelled",
    "KeyboardInterrupt": "interrupted from the keyboard",
}
"""What to say of exceptions that say nothing."""


def reason_of(error: BaseException) -> str:
    """Why a plan failed, in the words of PlanFailed."""
    if isinstance(error, _CANCELLED):
        return "cancelled"
    if isinstance(error, GraphDrained):
        return "interrupted"
    if isinstance(error, GraphRecursionError):
        return "limit_exceeded"
    if isinstance(error, NodeTimeoutError):
        return "timed_out"
    return "error"


def failure_of(error: BaseException, step: str = "") -> Failure:
    """An exception as a failure: its class is the code."""
    code = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = ""
    message = text_of(text or _MESSAGES.get(code, code), MESSAGE_CHARS_MAX)
    return Failure(code, message, step or None)
