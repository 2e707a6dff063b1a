"""Against the real program: what the scripted server only pretends."""

import threading
import unittest
from typing import Any, List

from planwire import (
    BaseEvent,
    ConflictError,
    CursorError,
    CustomEvent,
    DocumentError,
    EventInvalidError,
    InputReceived,
    InputRequested,
    PlanCompleted,
    PlanEndedError,
    PlanStarted,
    PlanUnknownError,
    ProblemError,
    RefusedError,
    SubplanCompleted,
    SubplanSpawned,
    ToolCalled,
    ToolCompleted,
    new_id,
)

from .scripted import PATIENCE_S
from .serving import RealServer, program
from .twins import AsyncTwin, Promises, SyncTwin


def tree(root: str, child: str) -> List[BaseEvent]:
    return [
        PlanStarted(root, name="report", inputs={"folder": "/srv"}),
        ToolCalled(root, "c1", "file.list", {"root": "/srv"}, step="list"),
        ToolCompleted(root, "c1", True, {"folders": ["a"]}, duration_ms=3),
        SubplanSpawned(root, child, "folder"),
        PlanStarted(child, "folder", parent_plan_id=root),
        PlanCompleted(child, {"files": 12}),
        SubplanCompleted(root, child, True, {"files": 12}),
        CustomEvent(root, "acme.note", {"text": "é\u2028“", "big": 2**63 - 1, "half": 0.5}),
        PlanCompleted(root, {"files": 12}),
    ]


@unittest.skipUnless(program(), "PLANWIRE_BIN names no program")
class Real(Promises, unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.server = RealServer()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.close()

    def setUp(self) -> None:
        self.real = self.twin(self.server.url, on_sleep=None)

    def test_what_is_published_is_read_and_followed(self) -> None:
        root, child = new_id(), new_id()
        events = tree(root, child)
        published = self.real.publish_all(events)
        self.assertEqual([place.event_id for place in published], [event.event_id for event in events])
        for found in (self.real.list("events", root, tree=True, page_size=2), list(self.real.follow(root, tree=True))):
            self.assertEqual([event.position for event in found], [place.position for place in published])
            contents = [(each.event_id, each.payload) for each in found[-2:]]
            self.assertEqual(contents, [(each.event_id, each.payload) for each in events[-2:]])
            for one, other in zip(found, events):
                self.assertIs(type(one), type(other))
                self.assertEqual((one.timestamp, one.plan_id), (other.timestamp, other.plan_id))
        again = self.real.publish_all(events)
        self.assertTrue(all(place.duplicate for place in again))
        self.assertEqual([place.cursor for place in again], [place.cursor for place in published])
        self.assertEqual(self.real.event(events[7].event_id).payload, events[7].payload)
        only = self.real.list("events", root, event_types=[PlanStarted, "acme.note"])
        self.assertEqual([event.event_type for event in only], ["PlanStarted", "acme.note"])

    def test_what_was_read_is_published_again_as_a_duplicate(self) -> None:
        root = new_id()
        self.real.publish_all(tree(root, new_id()))
        read = self.real.list("events", root, tree=True)
        self.assertTrue(all(place.duplicate for place in self.real.publish_all(read)))

    def test_plans_are_listed_and_shown(self) -> None:
        root, child = new_id(), new_id()
        self.real.publish_all(tree(root, child))
        plan = self.real.plan(root)
        self.assertEqual((plan.state, plan.name, plan.last_seq, plan.questions), ("completed", "report", 7, []))
        self.assertIsNotNone(plan.fold)
        self.assertEqual([each.plan_id for each in self.real.list("plans", tree=root, page_size=1)], [root, child])
        self.assertEqual(next(each.plan_id for each in self.real.list("plans", page_size=1)), root)
        with self.assertRaises(PlanUnknownError):
            self.real.plan("nobody")

    def test_refusals_of_the_log_are_typed(self) -> None:
        plan = new_id()
        with self.assertRaises(RefusedError) as raised:
            self.real.publish_all([PlanStarted(plan, "n"), PlanCompleted(plan), PlanCompleted(plan)])
        self.assertEqual((raised.exception.refusal, raised.exception.index), ("plan_ended", 2))
        event = PlanStarted(plan, "n")
        self.real.publish(event)
        with self.assertRaises(ConflictError):
            self.real.publish(PlanStarted(plan, "other").with_meta(event_id=event.event_id))
        with self.assertRaises(EventInvalidError) as invalid:
            self.real.publish(CustomEvent(plan, "NoDot"))
        self.assertEqual(invalid.exception.index, 0)
        with self.assertRaises(EventInvalidError):
            self.real.publish(CustomEvent(plan, "acme.big", {"text": "x" * 300_000}))

    def test_cursors_of_other_logs_are_refused(self) -> None:
        for after in ["nonsense", "ZZZZZZZZ-0000000000000001"]:
            with self.assertRaises(CursorError):
                list(self.real.follow(after=after))
        with self.assertRaises(PlanUnknownError):
            list(self.real.follow("nobody"))

    def test_more_events_than_a_request_takes_are_stored_in_order(self) -> None:
        plan = new_id()
        events: List[BaseEvent] = [PlanStarted(plan, "many")]
        events += [CustomEvent(plan, "acme.note", {"number": number, "text": "x" * 600}) for number in range(2_500)]
        published = self.real.publish_all(events)
        self.assertEqual([place.seq for place in published], list(range(1, 2_502)))
        self.real.publish(PlanCompleted(plan))
        followed = list(self.real.follow(plan, after=published[0].cursor))
        self.assertEqual([event.payload.get("number") for event in followed[:-1]], list(range(2_500)))

    def test_a_handler_gets_live_events_until_it_is_taken_away(self) -> None:
        plan = new_id()
        self.real.publish(PlanStarted(plan, "live"))
        seen: List[Any] = []
        arrived = threading.Semaphore(0)

        def handler(event: BaseEvent) -> None:
            seen.append(event.payload["number"])
            arrived.release()

        self.real.subscribe(handler, ["acme.note"], plan)
        for number in range(3):
            self.real.publish(CustomEvent(plan, "acme.note", {"number": number}))
            self.real.publish(CustomEvent(plan, "acme.other", {"number": -1}))
            self.assertTrue(arrived.acquire(timeout=PATIENCE_S))
        self.assertTrue(self.real.unsubscribe(handler))
        self.real.publish(CustomEvent(plan, "acme.note", {"number": 9}))
        self.assertEqual(seen, [0, 1, 2])

    def test_registered_plans_run_and_are_cancelled(self) -> None:
        started = self.real.start("repo-report", {"folder": self.server.folder}, "weekly")
        events = list(self.real.follow(started.plan_id, tree=True))
        self.assertIsInstance(events[0], PlanStarted)
        self.assertEqual((events[0].cursor, events[0].context_id), (started.cursor, "weekly"))
        self.assertEqual(self.real.plan(started.plan_id).state, "completed")
        with self.assertRaises(PlanEndedError):
            self.real.cancel(started.plan_id, "too late")
        with self.assertRaises(PlanUnknownError):
            self.real.cancel("nobody")
        with self.assertRaises(DocumentError):
            self.real.start("no-such-plan")
        with self.assertRaises(DocumentError):
            self.real.start({"name": "x"})

    def test_cancelling_is_an_event(self) -> None:
        plan = new_id()
        self.real.publish(PlanStarted(plan, "mine"))
        cancelled = self.real.cancel(plan, "wrong folder")
        event = self.real.event(cancelled.event_id)
        self.assertEqual((event.event_type, event.reason), ("CancelRequested", "wrong folder"))
        self.assertEqual(event.cursor, cancelled.cursor)

    def test_a_question_is_answered_once(self) -> None:
        plan = new_id()
        self.real.publish_all([PlanStarted(plan, "asks"), InputRequested(plan, "r1", "input", "Which branch?")])
        self.assertEqual([each.request_id for each in self.real.plan(plan).questions], ["r1"])
        event_id = new_id()
        first = self.real.answer(plan, "main", event_id=event_id, answered_by="ann")
        again = self.real.answer(plan, "main", "r1", event_id=event_id, answered_by="ann")
        self.assertEqual((again.position, first.duplicate, again.duplicate), (first.position, False, True))
        with self.assertRaises(RefusedError) as raised:
            self.real.answer(plan, "other", "r1")
        self.assertEqual(raised.exception.refusal, "request_not_open")
        received = self.real.event(event_id)
        assert isinstance(received, InputReceived)
        self.assertEqual((received.value, received.plan_id), ("main", plan))
        self.assertEqual(self.real.plan(plan).questions, [])

    def test_what_is_not_there_is_said(self) -> None:
        with self.assertRaises(ProblemError) as raised:
            self.real.event(new_id())
        self.assertEqual((raised.exception.status, raised.exception.slug), (404, "event-unknown"))


class SyncReal(Real):
    twin_class = SyncTwin


class AsyncReal(Real):
    twin_class = AsyncTwin


del Real
