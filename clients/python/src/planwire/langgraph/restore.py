"""Finds the plan of a thread that was interrupted, or whose process was killed, in the log.

The log is all that is kept of it: what is open is what its events leave open.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Dict, Optional

from ..bus import EventBus
from ..event import BaseEvent
from ..events import (
    DecisionMade,
    InputReceived,
    InputRequested,
    PlanCompleted,
    PlanFailed,
    PlanStarted,
    SubplanSpawned,
    ToolCalled,
    ToolCompleted,
)
from .tree import NODE, TASK, Call, Plan, Question, Tree

PLANS_MAX = 1_000
"""Open plans, newest first, among which the one of the thread is looked for."""

EVENTS_MAX = 50_000
"""Events that are read of it; a longer one is not continued."""

MEMBER = "langgraph"
"""The member of our payloads that is for this module: where in the graph the event belongs."""


def interrupted(bus: EventBus, name: str, thread_id: str) -> Optional[Tree]:
    """The newest open plan of a thread and of a graph of this name, as its events left it; None if there is none."""
    for found in islice(bus.plans(state="open", page_size=PLANS_MAX), PLANS_MAX):
        if found.context_id == thread_id and found.name == name:
            return folded(bus, found.plan_id)
    return None


def folded(bus: EventBus, plan_id: str) -> Optional[Tree]:
    """What is open in a tree, with all of it paused; None if it is no tree of ours."""
    fold = _Fold()
    for number, event in enumerate(bus.events(plan_id, tree=True)):
        if number == EVENTS_MAX:
            return None
        fold.take(event)
    tree = fold.tree
    if tree is None or tree.root.ended:
        return None
    tree.pause()
    return tree


class _Fold:
    def __init__(self) -> None:
        self.tree: Optional[Tree] = None
        self._plans: Dict[str, Plan] = {}

    def take(self, event: BaseEvent) -> None:
        if isinstance(event, PlanStarted):
            self._started(event)
        plan = self._plans.get(event.plan_id)
        if plan is None or self.tree is None:
            return
        if isinstance(event, ToolCalled):
            plan.counts.tool_calls += 1
            plan.calls[event.call_id] = _call(event)
        elif isinstance(event, ToolCompleted):
            call = plan.calls.pop(event.call_id, None)
            if call is not None and not event.ok and call.tool in (NODE, TASK):
                plan.attempts[call.key] = call.attempt
        elif isinstance(event, DecisionMade):
            plan.counts.decisions += 1
        elif isinstance(event, SubplanSpawned):
            plan.counts.subplans += 1
        elif isinstance(event, InputRequested):
            question = self.tree.questions.setdefault(event.request_id, Question(event.request_id, []))
            question.plans.append(plan)
        elif isinstance(event, InputReceived):
            self._answered(event.request_id, plan)
        elif isinstance(event, (PlanCompleted, PlanFailed)):
            plan.ended = True
            if plan.parent is not None:
                plan.parent.children.pop(plan.plan_id, None)

    def _started(self, event: PlanStarted) -> None:
        parent = self._plans.get(event.parent_plan_id or "")
        plan = Plan(event.plan_id, event.name, parent, _place(event).get("ns", ""), event.timestamp)
        self._plans[plan.plan_id] = plan
        if parent is not None:
            parent.children[plan.plan_id] = plan
        elif self.tree is None:
            self.tree = Tree(plan)

    def _answered(self, request_id: str, plan: Plan) -> None:
        assert self.tree is not None
        question = self.tree.questions.get(request_id)
        if question is not None and plan in question.plans:
            question.plans.remove(plan)
            if not question.plans:
                del self.tree.questions[request_id]


def _call(event: ToolCalled) -> Call:
    place = _place(event)
    call = Call(event.call_id, event.tool, event.step, str(place.get("key", "")), str(place.get("ns", "")))
    call.attempt, call.began = event.attempt, event.timestamp
    return call


def _place(event: BaseEvent) -> Dict[str, Any]:
    place = event.extra.get(MEMBER)
    return place if isinstance(place, dict) else {}
