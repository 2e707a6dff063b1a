"""Ids, events and what they keep."""

import os
import unittest
from datetime import datetime, timedelta, timezone
from typing import Any, List

from planwire import (
    EVENT_CLASSES,
    ArtifactPart,
    ArtifactProduced,
    BaseEvent,
    CustomEvent,
    DecisionMade,
    DecisionOption,
    Failure,
    InputRequested,
    PlanCompleted,
    PlanFailed,
    PlanStarted,
    ShapeError,
    new_id,
)
from planwire.ulid import ALPHABET, IdGenerator

from .scripted import event_json


class Ids(unittest.TestCase):
    def test_ids_are_ulids_that_rise(self) -> None:
        ids = [new_id() for _ in range(10_000)]
        self.assertEqual(ids, sorted(set(ids)))
        for each in ids[:100]:
            self.assertEqual((len(each), set(each) <= set(ALPHABET), each[0] <= "7"), (26, True, True))

    def test_ids_rise_within_a_millisecond_and_when_the_clock_goes_back(self) -> None:
        times = iter([5_000, 5_000, 4_000, 5_001])
        make = IdGenerator(lambda: next(times), lambda: (1 << 80) - 1)
        ids = [make() for _ in range(4)]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertEqual(ids[0], "00000004W8F" + "Z" * 15)

    def test_a_forked_process_makes_ids_of_its_own(self) -> None:
        if not hasattr(os, "fork"):
            self.skipTest("this system has no fork")
        # As if the clock had gone back: here ids are counted on from the last one, and a copy would count alike.
        new_id._last = 1 << 127
        self.addCleanup(new_id.forget)
        there, here = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(here, new_id().encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(there, 26).decode()
        os.close(there)
        os.close(here)
        self.assertNotEqual(theirs[:10], new_id()[:10])


class Events(unittest.TestCase):
    def test_each_type_of_the_vocabulary_has_a_dataclass_of_its_name(self) -> None:
        names = "PlanStarted PlanCompleted PlanFailed DecisionMade ToolCalled ToolProgress ToolCompleted SubplanSpawned "
        names += "SubplanCompleted ArtifactProduced InputRequested InputReceived CancelRequested PauseRequested "
        names += "ResumeRequested PlanAdopted LimitWarned"
        self.assertEqual(list(EVENT_CLASSES), names.split())
        for name, each in EVENT_CLASSES.items():
            self.assertTrue(issubclass(each, BaseEvent))
            self.assertEqual(each.event_type, name)

    def test_fields_are_the_payload_and_defaults_are_left_out(self) -> None:
        event = PlanStarted("p", name="nightly", goal="Tidy up")
        self.assertEqual(event.payload, {"name": "nightly", "goal": "Tidy up"})
        failed = PlanFailed("p", reason="error", error=Failure("exit_status", "it ended with 1"))
        error = {"code": "exit_status", "message": "it ended with 1"}
        self.assertEqual(failed.payload, {"reason": "error", "error": error})
        made = DecisionMade("p", "d1", "choice", "Which?", [DecisionOption("a"), DecisionOption("b")], "a", "rule")
        self.assertEqual(made.payload["options"], [{"name": "a"}, {"name": "b"}])
        part = ArtifactProduced("p", "a", "a.md", "text/markdown", ArtifactPart(text="# A"), last_chunk=True)
        self.assertEqual(part.payload["part"], {"text": "# A"})

    def test_required_fields_are_required(self) -> None:
        with self.assertRaises(TypeError):
            PlanStarted("p")  # type: ignore[call-arg]

    def test_unknown_members_are_kept_and_written_again(self) -> None:
        payload = {"name": "n", "goal": "", "later": [1], "origin": {"protocol": "cli", "principal": "ann", "new": 2}}
        event = BaseEvent.from_json(event_json(1, event_type="PlanStarted", payload=payload))
        assert isinstance(event, PlanStarted) and event.origin is not None
        self.assertEqual((event.extra, event.origin.extra), ({"later": [1]}, {"new": 2}))
        self.assertEqual(event.payload, payload)

    def test_null_is_told_from_nothing(self) -> None:
        for payload in [{"name": "n", "parent_plan_id": None}, {"name": "n"}]:
            event = BaseEvent.from_json(event_json(1, event_type="PlanStarted", payload=payload))
            self.assertEqual(event.payload, payload)

    def test_unknown_types_and_payloads_of_another_form_become_custom_events(self) -> None:
        for kind, payload in [
            ("acme.hit", {"key": 1}),
            ("PlanPaused", {"why": "?"}),
            ("PlanStarted", {"goal": "a name is missing"}),
            ("PlanFailed", {"reason": "error", "error": "text"}),
            ("DecisionMade", {"options": "text"}),
        ]:
            event = BaseEvent.from_json(event_json(1, event_type=kind, payload=payload))
            assert isinstance(event, CustomEvent)
            self.assertEqual((event.event_type, event.payload), (kind, payload))

    def test_what_was_read_says_where_it_stands(self) -> None:
        event = BaseEvent.from_json(event_json(7))
        assert event.stored is not None
        self.assertEqual((event.position, event.seq, event.cursor), (7, 7, "7Q4M2K9A-0000000000000007"))
        self.assertEqual(event.stored.recorded_at.microsecond, 124801)
        with self.assertRaises(ValueError):
            _ = PlanCompleted("p").position

    def test_what_was_read_can_be_published_again(self) -> None:
        stored = event_json(7)
        members = ("event_id", "event_type", "plan_id", "timestamp", "payload")
        self.assertEqual(BaseEvent.from_json(stored).to_json(), {name: stored[name] for name in members})

    def test_times_are_written_in_utc_with_microseconds(self) -> None:
        east = datetime(2026, 11, 22, 16, 20, 1, tzinfo=timezone(timedelta(hours=2)))
        event = PlanCompleted("p").with_meta(timestamp=east, event_id="01JD8C3V5K7QW9X2Y4Z6A8B0CE", extra={"cost": 1})
        self.assertEqual(event.to_json()["timestamp"], "2026-11-22T14:20:01.000000Z")
        self.assertEqual((event.event_id, event.payload), ("01JD8C3V5K7QW9X2Y4Z6A8B0CE", {"cost": 1}))
        naive = PlanCompleted("p").with_meta(timestamp=datetime(2026, 1, 2), traceparent="00-a-b-01")
        self.assertEqual(naive.to_json()["timestamp"], "2026-01-02T00:00:00.000000Z")
        self.assertEqual(naive.to_json()["traceparent"], "00-a-b-01")

    def test_what_is_no_event_is_an_error(self) -> None:
        no_events: List[Any] = [None, [], {}, event_json(1, timestamp="yesterday"), event_json(1, timestamp=3)]
        for value in no_events:
            with self.assertRaises(ShapeError):
                BaseEvent.from_json(value)
        for value in [event_json(1, event_type=[]), event_json(1, payload=3)]:
            with self.assertRaises(ShapeError):
                BaseEvent.from_json(value)

    def test_questions_have_their_fields(self) -> None:
        event = InputRequested("p", "r1", "approval", "Deploy?", arguments={"tool": "exec"}, arguments_digest="ab")
        self.assertEqual(event.payload["kind"], "approval")
        self.assertEqual(event.payload["arguments"], {"tool": "exec"})
