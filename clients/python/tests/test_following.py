"""Following against a server that cuts, hangs, restarts, ends and forgets."""

import asyncio
import gc
import threading
import unittest
import warnings
from typing import Any, List

from planwire import (
    AsyncEventBus,
    BaseEvent,
    CursorError,
    CursorPrunedError,
    GapError,
    PlanUnknownError,
    ProblemError,
    ProtocolError,
    Retry,
    Timeouts,
    UnreachableError,
)
from planwire.address import Address
from planwire.http_sync import Http, Stream
from planwire.wire import Lost, Request

from .scripted import (
    PATIENCE_S,
    STREAM_HEAD,
    ScriptedServer,
    answer,
    chunk,
    cursor,
    cut,
    end,
    event_json,
    frame,
    gap,
    heartbeat,
    hello,
    problem,
    raw,
    stream,
)
from .twins import AsyncTwin, Promises, SyncTwin, half


def positions(events: Any) -> List[int]:
    return [event.position for event in events]


class Following(Promises, unittest.TestCase):
    def test_a_plan_is_followed_to_its_end(self) -> None:
        with ScriptedServer(stream(hello(), frame(1) + frame(2), frame(3), end(3))) as server:
            follow = self.twin(server.url).follow("p", tree=True)
            self.assertEqual(positions(follow), [1, 2, 3])
            self.assertEqual(follow.cursor, cursor(3))
            asked = server.asked[0]
            self.assertEqual(asked.target, "/v1/plans/p/events?tree=true&after=start")
            self.assertEqual(asked.headers["accept"], "text/event-stream")
            self.assertNotIn("last-event-id", asked.headers)

    def test_a_plan_that_has_ended_ends_at_once(self) -> None:
        with ScriptedServer(answer(204)) as server:
            self.assertEqual(positions(self.twin(server.url).follow("p", after=cursor(3))), [])
            self.assertEqual(server.asked[0].headers["last-event-id"], cursor(3))

    def test_cuts_at_every_byte_lose_and_double_nothing(self) -> None:
        first = hello() + frame(1) + frame(2) + heartbeat(2)
        places = sorted({0, 1, len(first), *range(0, len(first), 41)})
        for place in places:
            told = STREAM_HEAD + chunk(first[:place]) if place else STREAM_HEAD

            def rest(talk: Any) -> None:
                seen = int(talk.asked.headers.get("last-event-id", cursor(0))[9:], 16)
                later = b"".join(frame(number) for number in range(seen + 1, 4))
                stream(hello(seen), later, end(3))(talk)

            with ScriptedServer(raw(told), rest) as server:
                self.assertEqual(positions(self.twin(server.url).follow("p")), [1, 2, 3], place)

    def test_it_resumes_behind_the_last_whole_frame(self) -> None:
        acts = [
            stream(hello(), frame(1), frame(2)[:-1], cut_off=True),
            stream(hello(1), frame(2), heartbeat(9), cut_off=True),
            stream(hello(9), frame(10, seq=3), end(10)),
        ]
        with ScriptedServer(*acts) as server:
            self.assertEqual(positions(self.twin(server.url).follow("p")), [1, 2, 10])
            resumed = [asked.headers.get("last-event-id") for asked in server.asked]
            self.assertEqual(resumed, [None, cursor(1), cursor(9)])
            self.assertEqual(server.asked[1].target, "/v1/plans/p/events")

    def test_what_comes_twice_is_given_once(self) -> None:
        acts = [stream(hello(), frame(1), frame(1), frame(2)), stream(hello(), frame(1), frame(2), frame(3), end(3))]
        with ScriptedServer(*acts) as server:
            self.assertEqual(positions(self.twin(server.url).follow("p")), [1, 2, 3])

    def test_the_pause_that_the_stream_names_is_kept(self) -> None:
        with ScriptedServer(stream(hello(retry_ms=1234), frame(1)), stream(hello(1), end(1))) as server:
            list(self.twin(server.url).follow("p"))
            self.assertEqual(self.pauses, [1.234])

    def test_a_server_that_is_away_is_waited_for(self) -> None:
        busy = answer(503, {"type": "urn:planwire:problem:too-many-streams"}, retry_after="2")
        with ScriptedServer(cut, raw(), busy, answer(502), stream(), stream(hello(), end(1))) as server:
            self.assertEqual(positions(self.twin(server.url).follow("p")), [])
            self.assertEqual([round(each, 4) for each in self.pauses], [0.075, 0.15, 2.0, 0.6, 1.2])

    def test_pauses_begin_anew_after_a_connection_that_gave_something(self) -> None:
        with ScriptedServer(cut, cut, stream(hello()), cut, stream(hello(), end(1))) as server:
            list(self.twin(server.url).follow("p"))
            self.assertEqual([round(each, 4) for each in self.pauses], [0.075, 0.15, 0.75, 0.075])

    def test_a_server_that_is_not_there_yet_is_waited_for(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), end(1)), listening=False) as server:
            tries: List[float] = []

            def sleep(seconds: float) -> None:
                tries.append(seconds)
                if len(tries) == 20:
                    server.listen()

            follow = self.twin(server.url, on_sleep=sleep).follow("p")
            self.assertEqual((positions(follow), len(tries)), ([1], 20))

    def test_silence_longer_than_heartbeats_is_a_dead_connection(self) -> None:
        acts = [stream(hello(), frame(1), hang=True), stream(hello(1), frame(2), end(2))]
        with ScriptedServer(*acts) as server:
            twin = self.twin(server.url, timeouts=Timeouts(silence_s=0.3, connect_s=PATIENCE_S))
            self.assertEqual(positions(twin.follow("p")), [1, 2])
            self.assertEqual(server.asked[1].headers["last-event-id"], cursor(1))

    def test_with_a_deadline_it_gives_up(self) -> None:
        times = iter([0.0, 1.0, 100.0])
        retry = Retry(random=half, clock=lambda: next(times))
        with ScriptedServer(listening=False) as server:
            with self.assertRaises(UnreachableError):
                list(self.twin(server.url, retry=retry, follow_deadline_s=60.0).follow("p"))

    def test_a_gap_is_said_and_iterating_on_gives_what_is_kept(self) -> None:
        acts = [
            stream(hello(), frame(1), frame(2), gap(2, 7)),
            stream(hello(), frame(2), frame(7), frame(8)),
            problem(410, "cursor-pruned", cursor=cursor(8)),
            stream(hello(), frame(12), end(12)),
        ]
        with ScriptedServer(*acts) as server:
            follow = self.twin(server.url).follow()
            self.assertEqual(positions([next(follow), next(follow)]), [1, 2])
            with self.assertRaises(GapError) as raised:
                next(follow)
            self.assertEqual((raised.exception.gap.requested, raised.exception.gap.first_kept), (cursor(2), cursor(7)))
            self.assertEqual(positions([next(follow), next(follow)]), [7, 8])
            with self.assertRaises(GapError) as raised:
                next(follow)
            self.assertEqual(raised.exception.gap.requested, cursor(8))
            self.assertEqual(positions(follow), [12])
            targets = [(asked.target, asked.headers.get("last-event-id")) for asked in server.asked]
            start = ("/v1/events?after=start", None)
            self.assertEqual(targets, [start, start, ("/v1/events", cursor(8)), start])
            self.assertEqual(self.pauses, [0.75])

    def test_an_event_that_is_missing_in_its_plan_is_a_gap(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), frame(5, seq=3), end(5))) as server:
            follow = self.twin(server.url).follow("p")
            self.assertEqual(next(follow).position, 1)
            with self.assertRaises(GapError):
                next(follow)
            self.assertEqual(follow.cursor, cursor(1))
            self.assertEqual(positions(follow), [5])

    def test_where_seq_has_holes_there_is_no_gap(self) -> None:
        selections: List[Any] = [{"tree": True}, {"event_types": "acme.note"}]
        for options in selections:
            with ScriptedServer(stream(hello(), frame(1), frame(5, seq=3), end(5))) as server:
                self.assertEqual(positions(self.twin(server.url).follow("p", **options)), [1, 5])

    def test_what_trying_again_does_not_mend_is_raised(self) -> None:
        for act, kind in [
            (problem(404, "plan-unknown", plan_id="p"), PlanUnknownError),
            (problem(409, "cursor-other-log"), CursorError),
            (problem(409, "cursor-beyond-head"), CursorError),
            (problem(400, "cursor-malformed"), CursorError),
            (problem(500, "read-failed"), ProblemError),
        ]:
            with ScriptedServer(act) as server:
                with self.assertRaises(kind):
                    list(self.twin(server.url).follow("p", after=cursor(1)))
                self.assertEqual(self.pauses, [])
        with ScriptedServer(problem(410, "cursor-pruned")) as server:
            with self.assertRaises(CursorPrunedError):
                list(self.twin(server.url).follow("p"))

    def test_answers_of_other_programs_are_an_error(self) -> None:
        html = raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi")
        unplaced = {name: value for name, value in event_json(1).items() if name != "position"}
        for act in [
            html,
            answer(302, None, location="/x"),
            stream(hello(), b"data: nope\n\n"),
            stream(hello(), b"data: {}\n\n"),
            stream(hello(), b"data: " + str(unplaced).replace("'", '"').replace("None", "null").encode() + b"\n\n"),
        ]:
            with ScriptedServer(act) as server:
                with self.assertRaises(ProtocolError):
                    list(self.twin(server.url).follow("p"))

    def test_a_stream_without_chunks_is_read_too(self) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n"
        with ScriptedServer(raw(head + hello() + frame(1), frame(2) + end(2))) as server:
            self.assertEqual(positions(self.twin(server.url).follow("p")), [1, 2])

    def test_close_from_elsewhere_ends_a_reader_that_waits(self) -> None:
        with ScriptedServer(stream(hello(), frame(1), hang=True)) as server:
            follow = self.twin(server.url).follow()
            self.assertEqual(next(follow).position, 1)
            rest: List[BaseEvent] = []
            reader = threading.Thread(target=lambda: rest.extend(follow), daemon=True)
            reader.start()
            follow.close()
            reader.join(5)
            self.assertEqual((reader.is_alive(), rest), (False, []))

    def test_types_are_asked_for_by_class_or_name(self) -> None:
        from planwire import PlanStarted, ToolCalled

        with ScriptedServer(stream(hello(), end(1))) as server:
            list(self.twin(server.url).follow(event_types=[PlanStarted, ToolCalled, "acme.note"], after="now"))
            expected = "/v1/events?event_type=PlanStarted&event_type=ToolCalled&event_type=acme.note&after=now"
            self.assertEqual(server.asked[0].target, expected)


    def test_what_is_no_cursor_at_all_is_said_before_anything_is_sent(self) -> None:
        with ScriptedServer() as server:
            for after in ["", "a\r\nx: y", "\u00e9"]:
                with self.assertRaises(ValueError):
                    self.twin(server.url).follow(after=after)
            self.assertEqual(server.asked, [])


class SyncFollowing(Following):
    twin_class = SyncTwin

    def test_a_stream_that_is_closed_while_it_connects_does_not_wait(self) -> None:
        class Closing(Http):
            def connect(self, timeout_s: float) -> Any:
                made = super().connect(timeout_s)
                streams[0].close()
                return made

        with ScriptedServer(lambda talk: talk.server.wait_for_close()) as server:
            timeouts = Timeouts(silence_s=2 * PATIENCE_S)
            streams = [Stream(Closing(Address.of(server.url), timeouts), timeouts)]
            self.assertIsInstance(streams[0].open(Request("GET", "/v1/events", stream=True)), Lost)


class AsyncFollowing(Following):
    twin_class = AsyncTwin

    def test_a_wait_that_is_cancelled_loses_nothing_and_keeps_the_connection(self) -> None:
        async def poll(follow: Any) -> List[int]:
            found: List[int] = []
            for _ in range(3):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(follow.__anext__(), 0.01)
            release.set()
            async for event in follow:
                found.append(event.position)
            return found

        def slow(talk: Any) -> None:
            talk.send(STREAM_HEAD + chunk(hello()))
            release.wait(PATIENCE_S)
            talk.send(chunk(frame(1)) + chunk(end(1)) + b"0\r\n\r\n")

        release = threading.Event()
        with ScriptedServer(slow) as server:
            twin = self.twin(server.url)
            self.assertEqual(twin.run(poll(twin.bus.follow("p"))), [1])
            self.assertEqual(len(server.asked), 1)

    def test_a_bus_can_be_used_in_one_loop_after_the_other(self) -> None:
        with ScriptedServer(answer(200, event_json(1)), answer(200, event_json(2))) as server:
            bus = AsyncEventBus(server.url)
            with warnings.catch_warnings():
                # The first loop ends with a connection that is kept, and says so.
                warnings.simplefilter("ignore", ResourceWarning)
                events = [asyncio.run(bus.event("x")) for _ in range(2)]
                del bus
                gc.collect()
            self.assertEqual(positions(events), [1, 2])


del Following
