"""What lies between bytes and values: frames, chunks, batches, pauses, addresses."""

import random
import unittest
from typing import Any, List

from planwire import CustomEvent, EventError, ProtocolError, Retry
from planwire.address import Address
from planwire.batch import REQUEST_BYTES_MAX, REQUEST_EVENTS_MAX, batches
from planwire.chunked import Chunks
from planwire.selection import Selection
from planwire.sse import FRAME_BYTES_MAX, Frame, FrameReader
from planwire.wire import Request

from .scripted import chunk, end, frame, heartbeat, hello

STREAM = hello() + frame(1, payload={"text": "é\u2028“ \\n"}) + heartbeat(4) + frame(5) + end(6)


def frames(pieces: List[bytes]) -> List[Frame]:
    reader = FrameReader()
    return [each for piece in pieces for each in reader.feed(piece)]


def cut_at_random(data: bytes, seed: int) -> List[bytes]:
    chance = random.Random(seed)
    places = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(chance.randrange(40)))})
    return [data[a:b] for a, b in zip(places, places[1:])]


class Frames(unittest.TestCase):
    def test_frames_do_not_depend_on_where_the_bytes_are_cut(self) -> None:
        whole = frames([STREAM])
        self.assertEqual([each.event for each in whole], ["message", "acme.note", "message", "acme.note", "end"])
        self.assertEqual((whole[0].retry_ms, whole[0].data), (750, None))
        for ending in (b"\n", b"\r\n", b"\r"):
            text = STREAM.replace(b"\n", ending)
            for seed in range(200):
                self.assertEqual(frames(cut_at_random(text, seed)), whole)
            self.assertEqual(frames([text[at : at + 1] for at in range(len(text))]), whole)

    def test_half_a_frame_is_nothing(self) -> None:
        for length in range(len(STREAM)):
            self.assertEqual(frames([STREAM[:length]]), frames([STREAM])[: len(frames([STREAM[:length]]))])
        self.assertEqual(frames([frame(1)[:-1]]), [])

    def test_lines_of_data_are_joined_and_what_is_unknown_is_ignored(self) -> None:
        found = frames([b"\xef\xbb\xbfdata: a\ndata\ndata:  b\nfoo: x\nretry: soon\nid: a\0b\n\n\n\n"])
        self.assertEqual(found, [Frame(data="a\n\n b")])

    def test_a_frame_has_a_bound(self) -> None:
        reader = FrameReader()
        with self.assertRaises(ProtocolError):
            for _ in range(FRAME_BYTES_MAX // 65536 + 1):
                reader.feed(b"x" * 65536)
        with self.assertRaises(ProtocolError):
            FrameReader().feed(b"data: x\n" * (FRAME_BYTES_MAX // 8 + 1000))


class ChunkedBodies(unittest.TestCase):
    def test_bodies_do_not_depend_on_where_the_bytes_are_cut(self) -> None:
        data = chunk(b"hello ") + b"5;name=value\r\nworld\r\n" + b"0\r\ntrailer: x\r\n\r\n"
        for seed in range(200):
            chunks = Chunks()
            body = b"".join(chunks.feed(piece) for piece in cut_at_random(data, seed))
            self.assertEqual((body, chunks.done), (b"hello world", True))
        early = Chunks()
        early.feed(data[:-2])
        self.assertFalse(early.done)

    def test_what_is_not_chunked_is_an_error(self) -> None:
        for data in [b"xyz\r\n", b"\r\n", b"-5\r\n", b"2\r\nabc\r\n", b"1" * 5000]:
            with self.assertRaises(ProtocolError):
                Chunks().feed(data)


class Batches(unittest.TestCase):
    def test_requests_have_at_most_1000_events_and_1_mib_in_order(self) -> None:
        chance = random.Random(7)
        sizes = [chance.choice([10, 100, 5_000, 250_000]) for _ in range(3_000)]
        events = [CustomEvent("p", "acme.x", {"text": "x" * size}) for size in sizes]
        made = list(batches(events))
        self.assertEqual([each for batch in made for each in batch.events], events)
        for batch in made:
            self.assertLessEqual(len(batch.events), REQUEST_EVENTS_MAX)
            self.assertLessEqual(len(batch.body), REQUEST_BYTES_MAX)
            self.assertIs(events[batch.first], batch.events[0])

    def test_requests_are_as_full_as_they_may_be(self) -> None:
        events = [CustomEvent("p", "acme.x") for _ in range(2_001)]
        self.assertEqual([len(batch.events) for batch in batches(events)], [1_000, 1_000, 1])
        self.assertEqual(list(batches([])), [])

    def test_what_cannot_be_sent_is_said_with_its_place(self) -> None:
        good = CustomEvent("p", "acme.x")
        bad: List[Any] = [{"n": float("nan")}, {"o": object()}, {"s": "\ud800"}, {"t": "x" * REQUEST_BYTES_MAX}]
        for data in bad:
            with self.assertRaises(EventError) as raised:
                list(batches([good, CustomEvent("p", "acme.x", data)]))
            self.assertEqual(raised.exception.index, 1)


class Pauses(unittest.TestCase):
    def test_pauses_double_up_to_a_bound_and_are_cut_at_random(self) -> None:
        for number, factor in [(0.0, 1.0), (1.0, 0.5)]:
            attempts = Retry(first_s=0.1, max_s=1.0, deadline_s=None, random=lambda: number).begin()
            expected = [each * factor for each in [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]]
            found = [attempts.pause() or 0.0 for _ in expected]
            for one, other in zip(found, expected):
                self.assertAlmostEqual(one, other)

    def test_the_server_can_ask_for_more(self) -> None:
        attempts = Retry(random=lambda: 0.0, deadline_s=None).begin()
        self.assertEqual((attempts.pause(2.0), attempts.pause(9999.0)), (2.0, 60.0))

    def test_pauses_end_at_the_deadline(self) -> None:
        now = [0.0]
        attempts = Retry(random=lambda: 0.0, deadline_s=10.0, clock=lambda: now[0]).begin()
        self.assertIsNotNone(attempts.pause())
        now[0] = 9.9
        self.assertIsNone(attempts.pause())
        endless = Retry(deadline_s=None, clock=lambda: now[0]).begin()
        self.assertTrue(all(endless.pause() for _ in range(3_000)))


class Addresses(unittest.TestCase):
    def test_addresses_are_read(self) -> None:
        address = Address.of("http://[::1]:7420/base/", token="s3cret")
        self.assertEqual((address.host, address.port, address.prefix), ("::1", 7420, "/base"))
        headers = address.headers(Request("GET", "/"))
        self.assertEqual((headers["Host"], headers["Authorization"]), ("[::1]:7420", "Bearer s3cret"))
        self.assertEqual(Address.of("https://plans.example").authority, "plans.example")
        self.assertIsNotNone(Address.of("https://plans.example").tls())

    def test_what_is_no_address_is_said(self) -> None:
        for url in ["localhost:7420", "ftp://a", "http://", "http://a@b/", "http://a/?q", "http://a/#f"]:
            with self.assertRaises(ValueError):
                Address.of(url)
        with self.assertRaises(ValueError):
            Address.of("http://a", token="a\r\nb: c")


class Selections(unittest.TestCase):
    def test_targets_name_plan_types_and_place(self) -> None:
        select = Selection.of(["acme.a", "acme.b", "acme.a"], "a b", True)
        self.assertEqual(
            select.target("start", 5),
            "/v1/plans/a%20b/events?event_type=acme.a&event_type=acme.b&tree=true&after=start&limit=5",
        )
        self.assertEqual(Selection.of(None, None, False).target(), "/v1/events")

    def test_what_cannot_be_selected_is_said(self) -> None:
        bad: List[Any] = [([], None, False), (None, None, True), (CustomEvent, None, False)]
        for types, plan, tree in bad:
            with self.assertRaises(ValueError):
                Selection.of(types, plan, tree)
