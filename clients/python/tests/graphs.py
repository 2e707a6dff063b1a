"""What the tests of the LangGraph adapter share: whether it can run, and what the log tells of a run."""

from __future__ import annotations

import importlib.util
import unittest
from typing import Any, Dict, List, Sequence

from planwire import (
    BaseEvent,
    DecisionMade,
    EventBus,
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

from .serving import RealServer, program

MISSING = "langgraph is not installed" if importlib.util.find_spec("langgraph") is None else ""
"""Why the tests cannot run; empty if they can."""

if not MISSING and not program():
    MISSING = "PLANWIRE_BIN names no program"


def said(event: BaseEvent) -> str:
    """An event in few words, without what differs from run to run."""
    if isinstance(event, PlanStarted):
        return f"start {event.name}"
    if isinstance(event, ToolCalled):
        return f"call {event.step} {event.tool}" + (f" again {event.attempt}" if event.attempt > 1 else "")
    if isinstance(event, ToolCompleted):
        return f"{'done' if event.ok else 'failed'} {event.step} {event.tool}"
    if isinstance(event, SubplanSpawned):
        return f"spawn {event.step} {event.name}"
    if isinstance(event, SubplanCompleted):
        return f"subplan {'done' if event.ok else 'failed'}"
    if isinstance(event, InputRequested):
        return f"{'repeats' if event.for_plan_id else 'asks'} {event.step}: {event.question}"
    if isinstance(event, InputReceived):
        return f"{event.outcome} {event.value}"
    if isinstance(event, DecisionMade):
        return f"decides {event.step}: {event.chosen}"
    if isinstance(event, PlanFailed):
        return f"failed {event.reason} {event.error.code}"
    return "completed" if isinstance(event, PlanCompleted) else event.event_type


class Told(unittest.TestCase):
    """Tests with a server of their own."""

    server: RealServer

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = RealServer()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()

    def setUp(self) -> None:
        self.bus = EventBus(self.server.url)
        self.before = {plan.plan_id for plan in self.bus.plans()}

    def tearDown(self) -> None:
        self.bus.close()

    def roots(self) -> List[str]:
        """The trees that the test has made, oldest first."""
        return [plan.plan_id for plan in self.bus.plans() if plan.plan_id not in self.before][::-1]

    def only(self) -> List[BaseEvent]:
        """The events of the only tree that the test has made; they are as they must be."""
        roots = self.roots()
        self.assertEqual(len(roots), 1, roots)
        events = list(self.bus.events(roots[0], tree=True))
        self.check(events)
        return events

    def story(self, events: Sequence[BaseEvent]) -> Dict[str, List[List[str]]]:
        """What each plan tells, by its name: a list for each plan of that name."""
        plans: Dict[str, List[str]] = {}
        for event in events:
            plans.setdefault(event.plan_id, []).append(said(event))
        told: Dict[str, List[List[str]]] = {}
        for lines in plans.values():
            told.setdefault(lines[0].partition(" ")[2], []).append(lines[1:])
        return told

    def check(self, events: Sequence[BaseEvent], ended: bool = True) -> None:
        """One start and one end of each plan, each call and subplan with its end, parents around their children."""
        plans: Dict[str, List[BaseEvent]] = {}
        for event in events:
            plans.setdefault(event.plan_id, []).append(event)
        for of_plan in plans.values():
            self.assertEqual([event.seq for event in of_plan], list(range(1, len(of_plan) + 1)))
            if ended:
                self.assertIsInstance(of_plan[-1], (PlanCompleted, PlanFailed))
                calls = [event.call_id for event in of_plan if isinstance(event, ToolCalled)]
                self.assertEqual(len(calls), len(set(calls)))
                self.assertEqual(sorted(calls), sorted(e.call_id for e in of_plan if isinstance(e, ToolCompleted)))
                spawned = [event.child_plan_id for event in of_plan if isinstance(event, SubplanSpawned)]
                self.assertEqual(
                    sorted(spawned), sorted(e.child_plan_id for e in of_plan if isinstance(e, SubplanCompleted))
                )

    def of_type(self, events: Sequence[BaseEvent], kind: Any, **members: Any) -> List[Any]:
        """The events of a type with these members."""
        found = [event for event in events if isinstance(event, kind)]
        return [e for e in found if all(getattr(e, name) == value for name, value in members.items())]
