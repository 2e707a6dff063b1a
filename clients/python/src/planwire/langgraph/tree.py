"""A run of a graph as a tree of plans: what is open in it, and the events that follow from what happens.

Nothing here knows LangChain or the network. **Invariant:** the events
that are taken out, in their order, are such as the log accepts: a child is announced before it starts and reported
after it ended, what is open when a plan ends is closed first, and nothing follows the end.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Dict, List, Optional, Tuple

from ..event import BaseEvent, now
from ..events import (
    Counts,
    DecisionMade,
    Failure,
    InputReceived,
    InputRequested,
    PlanCompleted,
    PlanFailed,
    PlanStarted,
    SubplanCompleted,
    SubplanSpawned,
    ToolCalled,
    ToolCompleted,
)
from ..shape import Json
from .plain import Plain

ENVELOPE_BYTES = 512
"""What an event takes beside its values, about."""

DEPTH_MAX = 63
"""Levels below the root at which a graph still becomes a plan of its own; the log takes 64."""

NODE, TASK = "langgraph.node", "langgraph.task"
"""The tools that stand for nodes, and for tasks of the functional API."""

EMPTY = Plain({}, 2, False)


@dataclass(eq=False)
class Call:
    """An open call."""

    call_id: str
    tool: str
    step: str
    key: str
    """What it is recognised by if the graph is resumed and does it again."""
    ns: str = ""
    """The place of the node that does it, as in :class:`Plan`."""
    attempt: int = 1
    began: datetime = field(default_factory=now)
    paused: bool = False
    """A question interrupted it: it will be done again from its start, and is one call until it is done."""


@dataclass(eq=False)
class Plan:
    """A plan that has not ended, unless ``ended``."""

    plan_id: str
    name: str
    parent: Optional[Plan] = None
    ns: str = ""
    """LangGraph's name of the place of this graph in its tree: ``node:task``, joined by ``|``."""
    began: datetime = field(default_factory=now)
    ended: bool = False
    paused: bool = False
    calls: Dict[str, Call] = field(default_factory=dict)
    children: Dict[str, Plan] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    attempts: Dict[str, int] = field(default_factory=dict)
    """How often each node that failed was tried."""

    @property
    def depth(self) -> int:
        """0 at the root."""
        return 0 if self.parent is None else self.parent.depth + 1


@dataclass(eq=False)
class Question:
    """An open question: on the plan that asks, first, and on all above it."""

    request_id: str
    plans: List[Plan]


class Tree:
    """What is open in one run of a graph, with the events that are not yet taken out."""

    def __init__(self, root: Plan) -> None:
        self.root = root
        self.questions: Dict[str, Question] = {}
        self.receipt: Optional[Future[None]] = None
        """Of the events that were taken out last."""
        self._events: List[Tuple[BaseEvent, int]] = []

    def take(self) -> List[Tuple[BaseEvent, int]]:
        """The events since the last time, each with its size in bytes."""
        events, self._events = self._events, []
        return events

    def begin(self, inputs: Plain, goal: str, context_id: Optional[str], extra: Json) -> None:
        """The root starts."""
        event = PlanStarted(self.root.plan_id, self.root.name, goal, inputs.object("input"), context_id=context_id)
        self._add(event, inputs, extra)

    def spawn(self, child: Plan, step: str, item: Optional[int], inputs: Plain, extra: Json) -> None:
        """A plan below ``child.parent`` is announced and starts, at the time that it says it began."""
        parent = child.parent
        assert parent is not None
        parent.children[child.plan_id] = child
        parent.counts.subplans += 1
        spawned = SubplanSpawned(parent.plan_id, child.plan_id, child.name, inputs.object("input"), step, item)
        started = PlanStarted(child.plan_id, child.name, inputs=inputs.object("input"), parent_plan_id=parent.plan_id)
        self._add(spawned.with_meta(timestamp=child.began), inputs, {})
        self._add(started.with_meta(timestamp=child.began), inputs, extra)

    def call(self, plan: Plan, call: Call, arguments: Plain, extra: Json) -> Call:
        """A call begins; or goes on, if it is one that a question interrupted."""
        for each in plan.calls.values():
            if each.paused and each.key == call.key:
                each.paused = False
                return each
        call.attempt = plan.attempts.get(call.key, 0) + 1
        plan.calls[call.call_id] = call
        plan.counts.tool_calls += 1
        event = ToolCalled(plan.plan_id, call.call_id, call.tool, arguments.object("input"), call.step, call.attempt)
        self._add(event.with_meta(timestamp=call.began), arguments, extra)
        return call

    def end_call(self, plan: Plan, call: Call, output: Plain, error: Optional[Failure], usage: Optional[Json]) -> None:
        """A call ends, well unless there is an error."""
        if plan.ended or plan.calls.pop(call.call_id, None) is None:
            return
        if error is not None and call.tool in (NODE, TASK):
            plan.attempts[call.key] = call.attempt
        event = ToolCompleted(plan.plan_id, call.call_id, error is None, tool=call.tool, step=call.step)
        event.output, event.error, event.usage = output.value, error, usage
        event.duration_ms, event.attempt = duration_ms(call.began), call.attempt
        self._add(event, output, {})

    def decide(self, plan: Plan, made: DecisionMade) -> None:
        """A router chose."""
        plan.counts.decisions += 1
        self._add(made, EMPTY, {})

    def ask(self, plan: Plan, request: InputRequested, size_bytes: int) -> None:
        """A plan asks; those above it repeat the question. Asking again what is open changes nothing."""
        if request.request_id in self.questions:
            return
        question = Question(request.request_id, [])
        above: Optional[Plan] = plan
        while above is not None:
            event = InputRequested(above.plan_id, request.request_id, request.kind, request.question, request.step)
            event.schema, event.arguments = request.schema, request.arguments
            event.for_plan_id = None if above is plan else plan.plan_id
            self._events.append((event, size_bytes + ENVELOPE_BYTES))
            question.plans.append(above)
            above = above.parent
        self.questions[question.request_id] = question

    def answer(self, request_id: str, value: Plain, answered_by: str) -> None:
        """A question was answered, so far as this process knows."""
        question = self.questions.pop(request_id)
        for plan in question.plans:
            event = InputReceived(plan.plan_id, request_id, answered_by, value.value, via="langgraph")
            self._add(event, value, {})

    def pause(self) -> None:
        """The run is over, and will be resumed: all that is open goes on then."""
        _pause(self.root)

    def complete(self, plan: Plan, outputs: Plain) -> None:
        """A plan reached its goal."""
        self._close(plan)
        event = PlanCompleted(plan.plan_id, outputs.object("output"), duration_ms(plan.began), plan.counts)
        self._add(event, outputs, {})
        if plan.parent is not None:
            ended = SubplanCompleted(plan.parent.plan_id, plan.plan_id, True, outputs.object("output"))
            ended.duration_ms = event.duration_ms
            self._add(ended, outputs, {})

    def fail(self, plan: Plan, reason: str, error: Failure) -> None:
        """A plan ended otherwise."""
        self._close(plan)
        event = PlanFailed(plan.plan_id, reason, error, duration_ms(plan.began))
        self._add(event, EMPTY, {})
        if plan.parent is not None:
            ended = SubplanCompleted(plan.parent.plan_id, plan.plan_id, False, error=error)
            ended.duration_ms = event.duration_ms
            self._add(ended, EMPTY, {})

    def close_paused(self, plan: Plan, ns: str) -> None:
        """A node is done: what a question interrupted in it, and what it did not do again, is over."""
        for call in [each for each in plan.calls.values() if each.paused and _within(each.ns, ns)]:
            self.end_call(plan, call, EMPTY, Failure("interrupted", "was not done again after the answer"), None)
        for child in [each for each in plan.children.values() if each.paused and _within(each.ns, ns)]:
            self.fail(child, "cancelled", Failure("interrupted", "was not run again after the answer"))

    def _close(self, plan: Plan) -> None:
        """Ends what is open in a plan that ends itself."""
        over = Failure("not_ended", "had not ended when its graph did")
        for child in list(plan.children.values()):
            self.fail(child, "cancelled", over)
        for call in list(plan.calls.values()):
            self.end_call(plan, call, EMPTY, over, None)
        plan.ended = True
        if plan.parent is not None:
            plan.parent.children.pop(plan.plan_id, None)
        for request_id, question in list(self.questions.items()):
            if question.plans[0] is plan:
                # Its ancestors do not wait for it any more either.
                del self.questions[request_id]
                for above in question.plans[1:]:
                    gone = InputReceived(above.plan_id, request_id, "langgraph", outcome="withdrawn", via="langgraph")
                    self._add(gone, EMPTY, {})

    def _add(self, event: BaseEvent, value: Plain, extra: Json) -> None:
        event.extra.update({name: each for name, each in extra.items() if each not in (None, "", [], {})})
        if value.truncated and isinstance(event, ToolCompleted):
            event.truncated = True
        elif value.truncated:
            event.extra["truncated"] = True
        self._events.append((event, value.size_bytes + ENVELOPE_BYTES))


def _pause(plan: Plan) -> None:
    plan.paused = True
    for call in plan.calls.values():
        call.paused = True
    for child in plan.children.values():
        _pause(child)


def _within(ns: str, outer: str) -> bool:
    return ns == outer or ns.startswith(outer + "|")


def duration_ms(began: datetime) -> int:
    """Whole milliseconds since then."""
    return max(0, round((now() - began).total_seconds() * 1000))

