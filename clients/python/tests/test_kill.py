"""The server is killed with -9 while it is published to and followed: nothing is lost, nothing is doubled."""

import threading
import unittest
from collections import Counter
from typing import List

from planwire import BaseEvent, CustomEvent, PlanCompleted, PlanStarted, Published, Retry

from .scripted import PATIENCE_S
from .serving import RealServer, program
from .twins import AsyncTwin, Promises, SyncTwin

KILLS = 10
PLAN = "killed"
EVENTS_BETWEEN_KILLS = 40
"""Events that are acknowledged from one kill to the next; the kill then comes while further ones are on their way."""


class Publisher(threading.Thread):
    """Publishes single events and batches by turns, until it is told to stop."""

    def __init__(self, twin: object, name: str) -> None:
        super().__init__(daemon=True)
        self.twin = twin
        self.tag = name
        self.sent: List[BaseEvent] = []
        self.acknowledged: List[Published] = []
        self.progress = threading.Condition()
        self.stopping = threading.Event()
        self.errors: List[BaseException] = []

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                size = 1 if len(self.sent) % 2 else 10
                events = [
                    CustomEvent(PLAN, "acme.note", {"from": self.tag, "number": len(self.sent) + each})
                    for each in range(size)
                ]
                self.sent += events
                places = self.twin.publish_all(events)  # type: ignore[attr-defined]
                with self.progress:
                    self.acknowledged += places
                    self.progress.notify_all()
        except BaseException as error:
            self.errors.append(error)
            with self.progress:
                self.progress.notify_all()

    def wait_for(self, count: int) -> bool:
        with self.progress:
            enough = lambda: len(self.acknowledged) >= count or bool(self.errors)  # noqa: E731
            return self.progress.wait_for(enough, PATIENCE_S) and not self.errors


@unittest.skipUnless(program(), "PLANWIRE_BIN names no program")
class Killed(Promises, unittest.TestCase):
    def test_nothing_is_lost_and_nothing_doubled_while_the_server_is_killed_ten_times(self) -> None:
        with RealServer() as server:
            retry = Retry(first_s=0.02, max_s=0.2)
            clients = [self.twin(server.url, on_sleep=None, retry=retry) for _ in range(3)]
            clients[0].publish(PlanStarted(PLAN, "killed"))
            publishers = [Publisher(client, f"publisher {number}") for number, client in enumerate(clients[:2])]
            followed: List[BaseEvent] = []
            follower = threading.Thread(target=lambda: followed.extend(clients[2].follow(PLAN)), daemon=True)
            handled: List[BaseEvent] = []
            subscription = clients[2].subscribe(handled.append, plan_id=PLAN)
            for thread in [*publishers, follower]:
                thread.start()
            for kill in range(1, KILLS + 1):
                for publisher in publishers:
                    self.assertTrue(publisher.wait_for(kill * EVENTS_BETWEEN_KILLS), publisher.errors)
                server.kill()
                server.start()
            for publisher in publishers:
                publisher.stopping.set()
                publisher.join(PATIENCE_S)
                self.assertFalse(publisher.is_alive() or publisher.errors, publisher.errors)
            clients[0].publish(PlanCompleted(PLAN))
            follower.join(PATIENCE_S)
            self.assertTrue(subscription.wait(PATIENCE_S))
            self.judge(server, publishers, clients[2].list("events", PLAN), followed, handled)

    def judge(
        self,
        server: RealServer,
        publishers: List[Publisher],
        stored: List[BaseEvent],
        followed: List[BaseEvent],
        handled: List[BaseEvent],
    ) -> None:
        sent = [event.event_id for publisher in publishers for event in publisher.sent]
        acknowledged = [place for publisher in publishers for place in publisher.acknowledged]
        notes = [event for event in stored if event.event_type == "acme.note"]
        contents = Counter((event.payload["from"], event.payload["number"]) for event in notes)
        lost = set(sent) - {event.event_id for event in notes}
        doubled = [each for each, count in contents.items() if count > 1]
        repeated = sum(place.duplicate for place in acknowledged)
        counts = f"{self.twin_class.name}: {server.kills} kills: published {len(sent)}, "
        counts += f"acknowledged {len(acknowledged)}, stored {len(notes)}, lost {len(lost)}, doubled {len(doubled)}; "
        counts += f"sent again and known {repeated}; "
        counts += f"followed {len(followed)} of {len(stored)}, handled {len(handled)}"
        print(counts, flush=True)
        self.assertEqual((server.kills, lost, doubled, len(notes)), (KILLS, set(), [], len(sent)))
        self.assertEqual([place.event_id for place in acknowledged], sent)
        places = {event.event_id: event.position for event in notes}
        self.assertTrue(all(places[place.event_id] == place.position for place in acknowledged))
        for publisher in publishers:
            numbers = [event.payload["number"] for event in notes if event.payload["from"] == publisher.tag]
            self.assertEqual(numbers, list(range(len(publisher.sent))))
        self.assertEqual([event.position for event in followed], [event.position for event in stored])
        self.assertEqual([event.position for event in handled], [event.position for event in stored[1:]])


class SyncKilled(Killed):
    twin_class = SyncTwin


class AsyncKilled(Killed):
    twin_class = AsyncTwin


del Killed
