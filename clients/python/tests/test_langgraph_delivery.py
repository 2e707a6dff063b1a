"""Servers that die, hang or never were: what becomes of the run, and of its events."""

import asyncio
import logging
import operator
import threading
import unittest
from typing import Annotated, Any, List, TypedDict
from unittest import mock
from uuid import uuid4

from planwire import (
    CustomEvent,
    EventBus,
    Failure,
    OutcomeUnknownError,
    PlanCompleted,
    PlanFailed,
    PlanStarted,
    Retry,
)

from .graphs import MISSING, Told
from .scripted import PATIENCE_S
from .serving import RealServer

if not MISSING:
    from langgraph.graph import START, StateGraph

    from planwire.langgraph import LostError, PlanwireCallbackHandler, outbox

ROUNDS = 30
"""Nodes that follow one another in the run during which the server is killed."""

KILLS = 5


class State(TypedDict, total=False):
    log: Annotated[List[Any], operator.add]


def row(count: int, node: Any) -> Any:
    """A graph of nodes that follow one another; ``node`` gets the number of each."""
    graph = StateGraph(State)
    names = [f"n{number}" for number in range(count)]
    for number, name in enumerate(names):
        graph.add_node(name, lambda state, number=number: {"log": [node(number)]})
    for one, other in zip([START, *names], names):
        graph.add_edge(one, other)
    return graph


@unittest.skipIf(MISSING, MISSING)
class Delivery(Told):
    def setUp(self) -> None:
        self.server = RealServer()
        self.bus = EventBus(self.server.url, retry=Retry(first_s=0.02, max_s=0.1))
        self.before = set()
        logging.getLogger("planwire").setLevel(logging.CRITICAL)

    def tearDown(self) -> None:
        logging.getLogger("planwire").setLevel(logging.NOTSET)
        self.bus.close()
        self.server.close()

    def impatient(self, **options: Any) -> Any:
        """A handler that notices at once that the server is away, and waits no longer than it must."""
        retry = Retry(first_s=0.01, max_s=0.02, deadline_s=0.05)
        return PlanwireCallbackHandler(EventBus(self.server.url, retry=retry), **{"wait_s": 0.05, **options})

    def test_nothing_is_lost_and_the_order_is_kept_while_the_server_is_killed(self) -> None:
        handler = self.impatient()

        def node(number: int) -> int:
            if number % (ROUNDS // KILLS) == 2:
                self.server.kill()
            if number % (ROUNDS // KILLS) == 4:
                self.server.start()
            return number

        config = {"callbacks": [handler], "recursion_limit": ROUNDS + 5}
        row(ROUNDS, node).compile(name="row").invoke({"log": []}, config)
        self.assertTrue(handler.flush(PATIENCE_S))
        story = self.story(self.only())["row"][0]
        steps = [f"{what} n{n} langgraph.node" for n in range(ROUNDS) for what in ("call", "done")]
        self.assertEqual(story, [*steps, "completed"])
        outcome = handler.outcome
        print(f"{self.server.kills} kills: told {len(story) + 1}, {outcome}", flush=True)
        self.assertEqual((outcome.published, outcome.waiting, outcome.lost), (len(story) + 1, 0, 0))
        self.assertEqual(self.server.kills, KILLS)

    def test_graph_runs_without_a_server_and_says_so(self) -> None:
        self.server.kill()
        handler = self.impatient()
        logging.getLogger("planwire").setLevel(logging.WARNING)
        with self.assertLogs("planwire", "WARNING") as told:
            result = row(3, lambda number: number).compile().invoke({"log": []}, {"callbacks": [handler]})
            self.assertEqual(result, {"log": [0, 1, 2]})
            self.assertEqual((handler.outcome.published, handler.outcome.waiting), (0, 8))
            self.assertFalse(handler.close(timeout_s=0))
            self.assertIn("8 events were not published", told.output[-1])
            # What comes after that is lost, and counted.
            row(1, lambda number: number).compile().invoke({"log": []}, {"callbacks": [handler]})
        self.assertEqual(handler.outcome.lost, 4)

    def test_what_waited_for_the_server_is_stored_when_it_comes(self) -> None:
        self.server.kill()
        handler = self.impatient(wait_s=0)
        row(3, lambda number: number).compile(name="late").invoke({"log": []}, {"callbacks": [handler]})
        self.server.start()
        self.assertTrue(handler.flush(PATIENCE_S))
        self.assertEqual(len(self.only()), 8)

    def test_strict_run_does_not_begin_what_is_not_on_disk(self) -> None:
        done: List[int] = []

        def node(number: int) -> int:
            done.append(number)
            if number == 1:
                self.server.kill()
            return number

        handler = self.impatient(on_error="raise", wait_s=0.3)
        graph = row(4, node).compile(name="strict")
        with self.assertRaises(OutcomeUnknownError):
            graph.invoke({"log": []}, {"callbacks": [handler]})
        self.assertEqual(done, [0, 1])
        # The node that did not begin is told as one that failed, and so is the plan.
        self.server.start()
        self.assertTrue(handler.flush(PATIENCE_S))
        ends = ["call n2 langgraph.node", "failed n2 langgraph.node", "failed error OutcomeUnknownError"]
        self.assertEqual(self.story(self.only())["strict"][0][-3:], ends)

    def test_run_that_is_cancelled_while_it_waits_for_the_log_is_a_cancelled_plan(self) -> None:
        self.server.kill()
        handler = self.impatient(wait_s=PATIENCE_S, on_error="raise")
        waiting = threading.Event()
        put = handler._outbox.put

        def noticed(*arguments: Any) -> Any:
            waiting.set()
            return put(*arguments)

        handler._outbox.put = noticed

        async def cancel() -> None:
            graph = row(1, lambda number: number).compile(name="cancelled")
            running = asyncio.ensure_future(graph.ainvoke({"log": []}, {"callbacks": [handler]}))
            # The event loop is free while the run waits.
            await asyncio.get_running_loop().run_in_executor(None, waiting.wait, PATIENCE_S)
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running

        asyncio.run(cancel())
        self.server.start()
        self.assertTrue(handler.flush(PATIENCE_S))
        self.assertEqual(self.story(self.only())["cancelled"][0], ["failed cancelled CancelledError"])

    def test_plan_that_somebody_else_ended_does_not_hinder_others(self) -> None:
        run_id = uuid4()

        def node(number: int) -> int:
            if number == 1:
                self.bus.publish(PlanFailed(str(run_id), "interrupted", Failure("operator", "ended by hand")))
            return number

        for strict in (False, True):
            handler = self.impatient(wait_s=PATIENCE_S, on_error="raise" if strict else "log")
            run_id = uuid4()
            config = {"callbacks": [handler], "run_id": run_id}
            graph = row(4, node).compile(name="ended")
            if strict:
                with self.assertRaises(LostError):
                    graph.invoke({"log": []}, config)
            else:
                self.assertEqual(graph.invoke({"log": []}, config)["log"], [0, 1, 2, 3])
            self.assertGreater(handler.outcome.lost, 0)
            row(1, lambda number: number).compile(name="other").invoke({"log": []}, {"callbacks": [handler]})
            self.assertTrue(handler.flush(PATIENCE_S))
            last = list(self.bus.events(str(run_id)))[-1]
            self.assertEqual((last.event_type, last.payload["error"]["code"]), ("PlanFailed", "operator"))
            self.assertIsInstance(list(self.bus.events(self.roots()[-1]))[-1], PlanCompleted)

    def test_refused_plan_takes_only_its_own_events_out_of_a_request(self) -> None:
        run_id = uuid4()
        handler = self.impatient(wait_s=0)

        def node(number: int) -> int:
            if number == 0:
                self.assertTrue(handler.flush(PATIENCE_S))
                self.bus.publish(PlanFailed(str(run_id), "interrupted", Failure("operator", "ended by hand")))
                self.server.kill()
            return number

        row(2, node).compile(name="refused").invoke({"log": []}, {"callbacks": [handler], "run_id": run_id})
        row(1, lambda number: number).compile(name="other").invoke({"log": []}, {"callbacks": [handler]})
        self.server.start()
        self.assertTrue(handler.flush(PATIENCE_S))
        self.assertEqual((handler.outcome.published, handler.outcome.lost), (2 + 4, 4))
        self.assertEqual([self.bus.plan(root).state for root in self.roots()], ["failed", "completed"])

    def test_more_than_may_wait_is_lost_from_one_event_on_and_never_has_a_hole(self) -> None:
        self.server.kill()
        handler = self.impatient(wait_s=0)

        def node(number: int) -> int:
            if number == 3:
                # From here on there is room again; for this plan it is too late.
                self.server.start()
                self.assertTrue(handler.flush(PATIENCE_S))
            return number

        with mock.patch.object(outbox, "WAITING_EVENTS_MAX", 5):
            row(5, node).compile(name="full").invoke({"log": []}, {"callbacks": [handler]})
        self.assertTrue(handler.flush(PATIENCE_S))
        self.assertEqual((handler.outcome.published, handler.outcome.lost), (5, 7))
        events = list(self.bus.events(self.roots()[0]))
        steps = [f"{what} n{n} langgraph.node" for n in range(2) for what in ("call", "done")]
        self.assertEqual(self.story(events)["full"][0], steps)

    def test_plan_that_lost_an_event_gets_none_of_the_later_ones(self) -> None:
        box = outbox.Outbox(self.bus)
        first = [(PlanStarted("holes", "holes"), 1), (CustomEvent("holes", "acme.note", {"number": 1}), 1)]
        with mock.patch.object(outbox, "WAITING_EVENTS_MAX", 2):
            box.put("holes", first).result(PATIENCE_S)
            with self.assertRaises(LostError):
                box.put("holes", [(CustomEvent("holes", "acme.note", {"number": n}), 1) for n in (2, 3, 4)]).result(0)
        with self.assertRaises(LostError):
            box.put("holes", [(CustomEvent("holes", "acme.note", {"number": 5}), 1)]).result(PATIENCE_S)
        self.assertEqual((box.outcome.published, box.outcome.lost), (2, 4))
        self.assertEqual(len(list(self.bus.events("holes"))), 2)

    def test_secrets_are_redacted_before_anything_is_sent(self) -> None:
        def redact(value: Any) -> Any:
            if value == {"log": ["broken"]}:
                raise ValueError("no")
            return {"log": "***"} if isinstance(value, dict) and "log" in value else value

        handler = self.impatient(wait_s=PATIENCE_S, redact=redact)
        graph = row(1, lambda number: "secret").compile(name="redacted")
        graph.invoke({"log": ["secret"]}, {"callbacks": [handler]})
        graph.invoke({"log": ["broken"]}, {"callbacks": [handler]})
        texts = [str(event.payload) for root in self.roots() for event in self.bus.events(root)]
        self.assertFalse([text for text in texts if "secret" in text or "broken" in text])
        self.assertTrue([text for text in texts if "redact failed: ValueError" in text])


if __name__ == "__main__":
    unittest.main()
