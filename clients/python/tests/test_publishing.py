"""Publishing against a server that cuts, refuses and forgets to answer."""

import asyncio
import socket
import threading
import unittest
from typing import Any, List

from planwire import (
    ConflictError,
    CustomEvent,
    EventError,
    EventInvalidError,
    OutcomeUnknownError,
    ProblemError,
    ProtocolError,
    RefusedError,
    Retry,
    Timeouts,
    UnavailableError,
    UnreachableError,
)

from .scripted import PATIENCE_S, ScriptedServer, answer, cut, places, problem, raw
from .twins import AsyncTwin, Promises, SyncTwin, half


def notes(count: int) -> List[CustomEvent]:
    return [CustomEvent("p", "acme.note", {"number": number}) for number in range(count)]


def ids(server: ScriptedServer) -> List[List[str]]:
    return [[event["event_id"] for event in asked.json["events"]] for asked in server.asked]


class Publishing(Promises, unittest.TestCase):
    def test_an_event_is_one_request_and_its_place_comes_back(self) -> None:
        with ScriptedServer(places(41)) as server:
            event = CustomEvent("p", "acme.note", {"text": "é\u2028"})
            place = self.twin(server.url).publish(event)
            self.assertEqual((place.event_id, place.position, place.seq), (event.event_id, 41, 41))
            asked = server.asked[0]
            self.assertEqual((asked.method, asked.target), ("POST", "/v1/events"))
            self.assertEqual(asked.headers["content-type"], "application/json")
            self.assertEqual(asked.json, {"events": [event.to_json()]})

    def test_connections_are_kept(self) -> None:
        with ScriptedServer(places(), places(), places()) as server:
            twin = self.twin(server.url)
            for event in notes(3):
                twin.publish(event)
            self.assertEqual([asked.connection for asked in server.asked], [1, 1, 1])

    def test_a_kept_connection_that_the_server_closed_is_noticed(self) -> None:
        def once(talk: Any) -> None:
            places()(talk)
            talk.keeps = False
            talk.connection.shutdown(socket.SHUT_WR)
            closed.set()

        closed = threading.Event()
        with ScriptedServer(once, places()) as server:
            twin = self.twin(server.url)
            twin.publish(notes(1)[0])
            closed.wait(PATIENCE_S)
            self.notice(twin)
            twin.publish(notes(1)[0])
            self.assertEqual([asked.connection for asked in server.asked], [1, 2])
            self.assertEqual(self.pauses, [])

    def notice(self, twin: Any) -> None:
        """Lets the client's event loop, if it has one, hear that the connection is closed."""

    def test_every_failure_that_may_pass_is_tried_again_under_the_same_ids(self) -> None:
        half_head = raw(b"HTTP/1.1 200 OK\r\ncontent-le")
        half_body = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"events\":")
        half_chunk = raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"events\":")
        nothing = raw()
        unknown = problem(503, "outcome-unknown", event_ids=[], retry_safe=True)
        acts = [cut, half_head, half_body, half_chunk, nothing, unknown, problem(503, "store-busy"), answer(502)]
        with ScriptedServer(*acts, places(duplicate=True)) as server:
            published = self.twin(server.url).publish_all(notes(3))
            self.assertEqual(len(server.asked), len(acts) + 1)
            self.assertEqual(len({tuple(each) for each in ids(server)}), 1)
            self.assertEqual(len({asked.body for asked in server.asked}), 1)
            self.assertTrue(all(place.duplicate for place in published))
            self.assertEqual([round(pause, 4) for pause in self.pauses[:4]], [0.075, 0.15, 0.3, 0.6])

    def test_a_server_that_is_not_there_yet_is_waited_for(self) -> None:
        with ScriptedServer(places(), listening=False) as server:
            tries: List[float] = []

            def sleep(seconds: float) -> None:
                tries.append(seconds)
                if len(tries) == 3:
                    server.listen()

            self.assertEqual(self.twin(server.url, on_sleep=sleep).publish(notes(1)[0]).position, 1)
            self.assertEqual(len(tries), 3)

    def test_a_server_that_does_not_answer_is_asked_again(self) -> None:
        with ScriptedServer(lambda talk: talk.server.wait_for_close(), places()) as server:
            self.twin(server.url, timeouts=Timeouts(answer_s=0.2, connect_s=PATIENCE_S)).publish(notes(1)[0])
            self.assertEqual(len(set(map(str, ids(server)))), 1)

    def test_the_pause_that_the_server_asks_for_is_kept(self) -> None:
        with ScriptedServer(answer(503, {}, retry_after="7"), places()) as server:
            self.twin(server.url).publish(notes(1)[0])
            self.assertEqual(self.pauses, [7.0])

    def test_many_events_are_split_and_stay_in_order(self) -> None:
        with ScriptedServer(places(1), cut, places(1001), places(2001)) as server:
            events = notes(2500)
            published = self.twin(server.url).publish_all(events)
            self.assertEqual([place.position for place in published], list(range(1, 2501)))
            self.assertEqual([place.event_id for place in published], [event.event_id for event in events])
            self.assertEqual([len(each) for each in ids(server)], [1000, 1000, 1000, 500])

    def test_nothing_is_sent_for_no_events(self) -> None:
        with ScriptedServer() as server:
            self.assertEqual(self.twin(server.url).publish_all([]), [])
            self.assertEqual(server.asked, [])

    def test_what_cannot_be_sent_keeps_everything_from_being_sent(self) -> None:
        with ScriptedServer() as server:
            with self.assertRaises(EventError) as raised:
                self.twin(server.url).publish_all([*notes(1500), CustomEvent("p", "acme.x", {"o": object()})])
            self.assertEqual((raised.exception.index, server.asked), (1500, []))

    def test_problems_are_typed_and_not_tried_again(self) -> None:
        refused = problem(409, "event-refused", index=1, refusal="plan_ended", plan_id="p")
        for act, kind in [
            (refused, RefusedError),
            (problem(409, "event-conflict", index=0), ConflictError),
            (problem(400, "event-invalid", index=0), EventInvalidError),
            (problem(413, "payload-too-large", index=0), EventInvalidError),
            (problem(403, "host-refused"), ProblemError),
            (answer(500, {"title": "?"}), ProblemError),
            (answer(501), ProblemError),
            (raw(b"HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\nnope"), ProblemError),
        ]:
            with ScriptedServer(act) as server:
                with self.assertRaises(ProblemError) as raised:
                    self.twin(server.url).publish_all(notes(2))
                self.assertIs(type(raised.exception), kind)
                self.assertEqual((len(server.asked), self.pauses), (1, []))
                self.assertEqual(len(raised.exception.unpublished), 2)

    def test_a_problem_has_all_its_members(self) -> None:
        with ScriptedServer(problem(409, "event-refused", index=1, refusal="plan_ended", plan_id="p")) as server:
            with self.assertRaises(RefusedError) as raised:
                self.twin(server.url).publish_all(notes(2))
        error = raised.exception
        self.assertEqual((error.status, error.slug, error.index), (409, "event-refused", 1))
        self.assertEqual((error.title, error.detail), ("title of event-refused", "the detail"))
        self.assertEqual(error.type, "urn:planwire:problem:event-refused")
        self.assertEqual((error.refusal, error.members["plan_id"]), ("plan_ended", "p"))
        self.assertIn("the detail", str(error))

    def test_an_error_in_a_later_request_says_what_is_stored(self) -> None:
        with ScriptedServer(places(1), problem(409, "event-refused", index=3)) as server:
            events = notes(1200)
            with self.assertRaises(RefusedError) as raised:
                self.twin(server.url).publish_all(events)
            error = raised.exception
            self.assertEqual(error.index, 1003)
            self.assertEqual([each.position for each in error.published], list(range(1, 1001)))
            self.assertEqual(list(error.unpublished), events[1000:])

    def test_at_the_deadline_the_error_says_what_is_known(self) -> None:
        def deadline() -> Retry:
            times = iter([0.0, 1.0, 100.0])
            return Retry(deadline_s=60.0, random=half, clock=lambda: next(times))

        unknown = problem(503, "outcome-unknown")
        busy = problem(503, "store-busy")
        cases: List[Any] = [
            ([busy, busy], UnavailableError),
            ([cut, cut], OutcomeUnknownError),
            # Once a request may have been stored, a later refusal of the connection does not take that back.
            ([cut, busy], OutcomeUnknownError),
            ([unknown, busy], OutcomeUnknownError),
            ([answer(504), busy], OutcomeUnknownError),
        ]
        for acts, kind in cases:
            with ScriptedServer(*acts) as server:
                with self.assertRaises(kind) as raised:
                    self.twin(server.url, retry=deadline()).publish_all(notes(2))
                self.assertEqual(len(raised.exception.unpublished), 2)
        with ScriptedServer(listening=False) as server:
            with self.assertRaises(UnreachableError):
                self.twin(server.url, retry=deadline()).publish_all(notes(2))

    def test_answers_of_other_programs_are_an_error(self) -> None:
        other = CustomEvent("p", "acme.x").event_id
        place = {"event_id": other, "position": 1, "cursor": "c", "seq": 1}
        for act in [
            answer(200, {"hello": 1}),
            answer(200, []),
            answer(200, {"events": [{}]}),
            answer(200, {"events": [place]}),
            answer(200, {"events": [place, place]}),
            answer(302, None, location="/elsewhere"),
            raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope"),
        ]:
            with ScriptedServer(act) as server:
                with self.assertRaises(ProtocolError):
                    self.twin(server.url).publish(notes(1)[0])


class SyncPublishing(Publishing):
    twin_class = SyncTwin


class AsyncPublishing(Publishing):
    twin_class = AsyncTwin

    def notice(self, twin: Any) -> None:
        async def until_heard() -> None:
            while twin.bus._http._idle[0].usable:
                await asyncio.sleep(0)

        twin.run(asyncio.wait_for(until_heard(), PATIENCE_S))


del Publishing
