"""Interrupts of a graph as questions of a plan, and what resumes it as their answers."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping

from langgraph.types import Command, Interrupt

from ..events import InputRequested
from .plain import plain, text_of

QUESTION_CHARS_MAX = 500
"""Characters of a question; the whole value stands in ``arguments``."""

QUESTION_BYTES_MAX = 16 * 1024
"""Bytes of what a question is about, and of the schema of its answer."""

BREAKPOINT = "breakpoint-"
"""How the ids of questions begin that are breakpoints: ``interrupt_before`` and ``interrupt_after``."""

_ASKING = ("question", "query", "message", "prompt", "title", "text", "description")
"""Members of an interrupt's value that are the question, the first that there is."""


def asked(interrupt: Interrupt[Any], plan_id: str, step: str) -> InputRequested:
    """``interrupt(value)`` as a question."""
    value = interrupt.value
    request = InputRequested(plan_id, interrupt.id, "input", question_of(value), step)
    if not isinstance(value, str):
        about = plain(value, QUESTION_BYTES_MAX)
        request.arguments = about.value if isinstance(about.value, dict) else {"value": about.value}
    schema = plain(interrupt.response_schema, QUESTION_BYTES_MAX)
    if isinstance(schema.value, dict) and not schema.truncated:
        request.schema = schema.value
    return request


def stopped(status: str, checkpoint_id: str, plan_id: str) -> InputRequested:
    """A breakpoint as a question."""
    when = "after" if status == "interrupt_after" else "before"
    return InputRequested(plan_id, BREAKPOINT + checkpoint_id, "approval", f"Go on? It stopped {when} a node.")


def question_of(value: Any) -> str:
    """The question that stands in the value of an interrupt."""
    if isinstance(value, Mapping):
        texts = (value.get(name) for name in _ASKING)
        value = next((each for each in texts if isinstance(each, str) and each), value)
    return text_of(value, QUESTION_CHARS_MAX) or "?"


def resumes(inputs: Any) -> bool:
    """Whether what a graph is given lets it go on where it was, instead of beginning anew."""
    return inputs is None or (isinstance(inputs, Command) and inputs.resume is not None)


def answers(inputs: Any, open_ids: Iterable[str]) -> Dict[str, Any]:
    """The answers to open questions that ``inputs`` has, by the ids of the questions."""
    found = {each: True for each in open_ids if each.startswith(BREAKPOINT)}
    asking = [each for each in open_ids if not each.startswith(BREAKPOINT)]
    resume = inputs.resume if isinstance(inputs, Command) else None
    if resume is None:
        return found
    if isinstance(resume, Mapping) and any(each in resume for each in asking):
        found.update({each: resume[each] for each in asking if each in resume})
    elif len(asking) == 1:
        found[asking[0]] = resume
    return found
