"""Handlers: what they are called with, what their failures do, and how they end."""

import threading
import unittest
from typing import Any, List

from planwire import BaseEvent, GapError, PlanUnknownError, ProblemError

from .scripted import PATIENCE_S, ScriptedServer, answer, cursor, end, frame, gap, hello, problem, stream
from .twins import AsyncTwin, Promises, SyncTwin


def page(position: int) -> Any:
    """The page that says where now is."""
    return answer(200, {"events": [], "next": cursor(position), "at_head": True, "ended": False})


class Subscribing(Promises, unittest.TestCase):
    def setUp(self) -> None:
        self.seen: List[int] = []
        self.errors: List[Exception] = []

    def handler(self, event: BaseEvent) -> None:
        self.seen.append(event.position)

    def test_a_handler_gets_what_is_stored_after_the_call(self) -> None:
        with ScriptedServer(page(4), stream(hello(4), frame(5)), stream(hello(5), frame(6), end(6))) as server:
            subscription = self.twin(server.url).subscribe(self.handler, ["acme.note"], "p")
            self.assertTrue(subscription.wait(PATIENCE_S))
            self.assertEqual((self.seen, subscription.error, subscription.cursor), ([5, 6], None, cursor(6)))
            targets = [asked.target for asked in server.asked]
            path = "/v1/plans/p/events?event_type=acme.note"
            self.assertEqual(targets, [path + "&after=now&limit=1", path, path])
            self.assertEqual([asked.headers.get("last-event-id") for asked in server.asked[1:]], [cursor(4), cursor(5)])

    def test_a_handler_can_begin_at_a_cursor(self) -> None:
        with ScriptedServer(stream(hello(1), frame(2), end(2))) as server:
            self.twin(server.url).subscribe(self.handler, after=cursor(1)).wait(PATIENCE_S)
            self.assertEqual(self.seen, [2])

    def test_a_handler_that_fails_gets_the_next_event_all_the_same(self) -> None:
        def failing(event: BaseEvent) -> None:
            self.handler(event)
            raise KeyError(event.position)

        with ScriptedServer(stream(hello(), frame(1), frame(2), end(2))) as server:
            twin = self.twin(server.url)
            subscription = twin.subscribe(failing, after="start", on_error=self.errors.append)
            subscription.wait(PATIENCE_S)
            self.assertEqual((self.seen, [error.args for error in self.errors]), ([1, 2], [(1,), (2,)]))
            self.assertIsNone(subscription.error)

    def test_errors_are_logged_and_a_failing_on_error_is_survived(self) -> None:
        def failing(event: BaseEvent) -> None:
            raise KeyError(event.position)

        def on_error(error: Exception) -> None:
            raise ValueError("on_error fails too")

        for options in [{}, {"on_error": on_error}]:
            with ScriptedServer(stream(hello(), frame(1), end(1))) as server:
                with self.assertLogs("planwire", "ERROR"):
                    self.twin(server.url).subscribe(failing, after="start", **options).wait(PATIENCE_S)

    def test_a_gap_is_reported_and_what_is_kept_follows(self) -> None:
        acts = [stream(hello(), frame(1), gap(1, 7)), stream(hello(), frame(7), end(7))]
        with ScriptedServer(*acts) as server:
            twin = self.twin(server.url)
            twin.subscribe(self.handler, after="start", on_error=self.errors.append).wait(PATIENCE_S)
            self.assertEqual((self.seen, [type(error) for error in self.errors]), ([1, 7], [GapError]))

    def test_what_ends_a_subscription_is_reported(self) -> None:
        with ScriptedServer(page(1), problem(500, "read-failed")) as server:
            subscription = self.twin(server.url).subscribe(self.handler, on_error=self.errors.append)
            subscription.wait(PATIENCE_S)
            self.assertEqual([type(error) for error in self.errors], [ProblemError])
            self.assertIs(subscription.error, self.errors[0])

    def test_an_unknown_plan_is_said_at_once(self) -> None:
        with ScriptedServer(problem(404, "plan-unknown")) as server:
            with self.assertRaises(PlanUnknownError):
                self.twin(server.url).subscribe(self.handler, plan_id="nobody")

    def test_unsubscribe_ends_all_of_a_handler_and_nothing_else(self) -> None:
        hanging = stream(hello(), frame(1), hang=True)
        with ScriptedServer(hanging, hanging, hanging) as server:
            twin = self.twin(server.url)
            arrived = threading.Semaphore(0)

            def one(event: BaseEvent) -> None:
                arrived.release()

            def other(event: BaseEvent) -> None:
                arrived.release()

            ours = [twin.subscribe(one, after="start") for _ in range(2)]
            twin.subscribe(other, after="start")
            for _ in range(3):
                self.assertTrue(arrived.acquire(timeout=PATIENCE_S))
            self.assertTrue(twin.unsubscribe(one))
            self.assertTrue(all(each.wait(0) for each in ours))
            self.assertEqual((twin.unsubscribe(one), twin.unsubscribe(other)), (False, True))

    def test_unsubscribe_waits_for_the_handler_that_runs(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), frame(2), hang=True)) as server:
            twin = self.twin(server.url)
            begun = threading.Event()
            release = threading.Event()
            done: List[int] = []
            slow = self.slow_handler(begun, release, done)
            twin.subscribe(slow, after="start")
            self.assertTrue(begun.wait(PATIENCE_S))
            ending = threading.Thread(target=twin.unsubscribe, args=(slow,), daemon=True)
            ending.start()
            release.set()
            ending.join(PATIENCE_S)
            self.assertFalse(ending.is_alive())
            self.assertIn(done, ([1], [1, 2]))

    def slow_handler(self, begun: threading.Event, release: threading.Event, done: List[int]) -> Any:
        def slow(event: BaseEvent) -> None:
            begun.set()
            release.wait(PATIENCE_S)
            done.append(event.position)

        return slow

    def test_close_ends_every_subscription(self) -> None:
        with ScriptedServer(stream(hello(), hang=True), stream(hello(), hang=True)) as server:
            twin = self.twin(server.url)
            ours = [twin.subscribe(self.handler, after="start") for _ in range(2)]
            twin.unsubscribe(self.handler)
            self.assertTrue(all(each.wait(0) for each in ours))


class SyncSubscribing(Subscribing):
    twin_class = SyncTwin

    def test_a_handler_can_unsubscribe_itself(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), frame(2), end(2))) as server:
            twin = self.twin(server.url)

            def once(event: BaseEvent) -> None:
                self.handler(event)
                twin.unsubscribe(once)

            twin.subscribe(once, after="start").wait(PATIENCE_S)
            self.assertEqual(self.seen, [1])


class AsyncSubscribing(Subscribing):
    twin_class = AsyncTwin

    def slow_handler(self, begun: threading.Event, release: threading.Event, done: List[int]) -> Any:
        import asyncio

        async def slow(event: BaseEvent) -> None:
            begun.set()
            await asyncio.get_running_loop().run_in_executor(None, release.wait, PATIENCE_S)
            done.append(event.position)

        return slow

    def test_a_handler_can_unsubscribe_itself(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), frame(2), end(2))) as server:
            twin = self.twin(server.url)

            async def once(event: BaseEvent) -> None:
                self.handler(event)
                await twin.bus.unsubscribe(once)

            twin.subscribe(once, after="start").wait(PATIENCE_S)
            self.assertEqual(self.seen, [1])


del Subscribing
