"""Starting, answering, cancelling and paging."""

import unittest

from planwire import (
    AnswerInvalidError,
    DocumentError,
    PlanEndedError,
    PlanExistsError,
    PlanUnknownError,
    ProtocolError,
    RefusedError,
)

from .scripted import ScriptedServer, answer, cursor, cut, event_json, problem
from .twins import AsyncTwin, Promises, SyncTwin

ANSWERED = {
    "plan_id": "child",
    "request_id": "r1",
    "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE",
    "position": 9,
    "cursor": cursor(9),
    "seq": 4,
    "duplicate": False,
}
ROW = {"plan_id": "p", "root_plan_id": "p", "state": "open", "depth": 0, "name": "n", "first": cursor(1), "new": 1}
QUESTION = {"request_id": "r1", "kind": "input", "question": "Which?", "schema": {"type": "string"}, "seq": 3}


class Calling(Promises, unittest.TestCase):
    def test_plans_are_started_by_name_or_document(self) -> None:
        started = answer(201, {"plan_id": "p", "cursor": cursor(1)})
        with ScriptedServer(started, started, started) as server:
            twin = self.twin(server.url)
            plan = twin.start("repo-report", {"folder": "/srv"}, "weekly")
            self.assertEqual((plan.plan_id, plan.cursor), ("p", cursor(1)))
            twin.start({"planwire": 1, "steps": []})
            self.assertEqual(server.asked[0].target, "/v1/plans")
            twin.start("tidy", plan_id="mine")
            bodies = [asked.json for asked in server.asked]
            made = [body.pop("plan_id") for body in bodies]
            first = {"document": "repo-report", "inputs": {"folder": "/srv"}, "context_id": "weekly"}
            second = {"document": {"planwire": 1, "steps": []}}
            self.assertEqual(bodies, [first, second, {"document": "tidy"}])
            self.assertEqual((len(made[0]), made[0] < made[1], made[2]), (26, True, "mine"))

    def test_a_start_is_sent_again_under_one_id_and_done_once(self) -> None:
        started = answer(201, {"plan_id": "p", "cursor": cursor(1)})
        done = problem(409, "plan-exists", plan_id="p", cursor=cursor(1))
        busy = problem(503, "too-many-plans"), problem(503, "plan-starting")
        for last in [started, done]:
            with ScriptedServer(*busy, cut, problem(503, "outcome-unknown"), answer(504), last) as server:
                plan = self.twin(server.url).start("n")
                self.assertEqual((plan.plan_id, plan.cursor), ("p", cursor(1)))
                self.assertEqual(len(server.asked), 6)
                self.assertEqual(len({asked.json["plan_id"] for asked in server.asked}), 1)

    def test_a_start_under_an_id_of_your_own_says_that_it_is_taken(self) -> None:
        with ScriptedServer(problem(409, "plan-exists", plan_id="mine", cursor=cursor(1))) as server:
            with self.assertRaises(PlanExistsError) as raised:
                self.twin(server.url).start("n", plan_id="mine")
            self.assertEqual((raised.exception.plan_id, raised.exception.cursor), ("mine", cursor(1)))

    def test_a_start_that_does_not_fit_is_said(self) -> None:
        for status, slug in [
            (422, "document-unregistered"),
            (422, "document-invalid"),
            (422, "inputs-invalid"),
            (403, "inline-document-refused"),
        ]:
            with ScriptedServer(problem(status, slug, diagnostics=["line 1"])) as server:
                with self.assertRaises(DocumentError) as raised:
                    self.twin(server.url).start("n")
                self.assertEqual(raised.exception.members["diagnostics"], ["line 1"])

    def test_an_answer_is_sent_again_under_one_id(self) -> None:
        known = answer(200, {**ANSWERED, "duplicate": True})
        with ScriptedServer(cut, problem(503, "outcome-unknown"), known) as server:
            answered = self.twin(server.url).answer("root", {"branch": "main"}, "r1", answered_by="ann")
            self.assertEqual((answered.plan_id, answered.duplicate, answered.seq), ("child", True, 4))
            self.assertEqual(server.asked[0].target, "/v1/plans/root/answer")
            self.assertEqual(len({asked.body for asked in server.asked}), 1)
            sent = server.asked[0].json
            self.assertEqual(len(sent.pop("event_id")), 26)
            self.assertEqual(sent, {"request_id": "r1", "value": {"branch": "main"}, "answered_by": "ann"})

    def test_an_answer_can_be_null_and_leave_the_question_out(self) -> None:
        with ScriptedServer(answer(200, ANSWERED)) as server:
            self.twin(server.url).answer("p", None, event_id="01JD8C3V5K7QW9X2Y4Z6A8B0CE", arguments_digest="ab")
            sent = {"value": None, "arguments_digest": "ab", "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE"}
            self.assertEqual(server.asked[0].json, sent)

    def test_an_answer_that_does_not_count_is_said(self) -> None:
        with ScriptedServer(problem(400, "answer-invalid", errors=["it is no string"])) as server:
            with self.assertRaises(AnswerInvalidError) as raised:
                self.twin(server.url).answer("p", 3)
            self.assertEqual(raised.exception.errors, ["it is no string"])
        with ScriptedServer(problem(409, "event-refused", refusal="request_not_open")) as server:
            with self.assertRaises(RefusedError) as refused:
                self.twin(server.url).answer("p", 3)
            self.assertEqual(refused.exception.refusal, "request_not_open")

    def test_a_plan_is_cancelled_with_a_reason(self) -> None:
        done = answer(202, {"plan_id": "p", "event_id": "01JD8C3V5K7QW9X2Y4Z6A8B0CE", "cursor": cursor(5)})
        with ScriptedServer(cut, done, problem(409, "plan-ended"), problem(404, "plan-unknown")) as server:
            twin = self.twin(server.url)
            self.assertEqual(twin.cancel("p", "wrong folder").cursor, cursor(5))
            self.assertEqual(server.asked[1].json, {"reason": "wrong folder"})
            with self.assertRaises(PlanEndedError):
                twin.cancel("p")
            with self.assertRaises(PlanUnknownError):
                twin.cancel("nobody")

    def test_a_plan_has_its_fold_and_its_open_questions(self) -> None:
        for body in [
            {**ROW, "fold": {"goal": "g", "questions": [QUESTION]}},
            {**ROW, "fold": {"goal": "g"}, "questions": [QUESTION]},
        ]:
            with ScriptedServer(answer(200, body)) as server:
                plan = self.twin(server.url).plan("p")
                self.assertEqual((plan.state, plan.extra, (plan.fold or {})["goal"]), ("open", {"new": 1}, "g"))
                questions = [(each.request_id, each.schema) for each in plan.questions]
                self.assertEqual(questions, [("r1", {"type": "string"})])

    def test_plans_are_paged_to_the_end_past_empty_pages(self) -> None:
        acts = [
            answer(200, {"plans": [ROW], "next": cursor(9)}),
            answer(200, {"plans": [], "next": cursor(5)}),
            answer(503),
            answer(200, {"plans": [ROW, ROW], "next": None}),
        ]
        with ScriptedServer(*acts) as server:
            plans = self.twin(server.url).list("plans", state="failed", roots=False, page_size=2)
            self.assertEqual(len(plans), 3)
            targets = [asked.target for asked in server.asked]
            first = "/v1/plans?state=failed&roots=false&limit=2"
            later = [f"{first}&after={cursor(each)}" for each in (9, 5, 5)]
            self.assertEqual(targets, [first, *later])
        with ScriptedServer(answer(200, {"plans": [], "next": None})) as server:
            self.twin(server.url).list("plans", tree="p")
            self.assertEqual(server.asked[0].target, "/v1/plans?tree=p&limit=100")

    def test_events_are_paged_to_the_head(self) -> None:
        acts = [
            answer(200, {"events": [event_json(1)], "next": cursor(1), "at_head": False, "ended": False}),
            answer(200, {"events": [], "next": cursor(5), "at_head": False, "ended": False}),
            answer(200, {"events": [event_json(6)], "next": cursor(6), "at_head": True, "ended": False}),
        ]
        with ScriptedServer(*acts) as server:
            events = self.twin(server.url).list("events", "p", page_size=1)
            self.assertEqual([event.position for event in events], [1, 6])
            after = [asked.target.partition("after=")[2] for asked in server.asked]
            self.assertEqual(after, ["start&limit=1", f"{cursor(1)}&limit=1", f"{cursor(5)}&limit=1"])

    def test_one_event_is_found_by_its_id(self) -> None:
        with ScriptedServer(answer(200, event_json(3)), answer(200, {"no": "event"})) as server:
            twin = self.twin(server.url)
            self.assertEqual(twin.event("01JD8C3V5K7QW9X2Y4Z6A80003").position, 3)
            with self.assertRaises(ProtocolError):
                twin.event("x")


class SyncCalling(Calling):
    twin_class = SyncTwin


class AsyncCalling(Calling):
    twin_class = AsyncTwin


del Calling
