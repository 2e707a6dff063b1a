"""Interrupts of real graphs: what is asked, what is answered, and which plan goes on."""

import asyncio
import operator
import unittest
from concurrent.futures import Future
from typing import Annotated, Any, List, TypedDict

from planwire import InputReceived, InputRequested, PlanCompleted, PlanFailed, ToolCalled, ToolCompleted

from .graphs import MISSING, Told
from .scripted import PATIENCE_S

if not MISSING:
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.types import Command, interrupt

    from planwire.langgraph import PlanwireCallbackHandler

    @tool
    def pay(amount: int) -> Any:
        """Pays, if somebody says so."""
        return interrupt({"question": "Pay?", "amount": amount})


class State(TypedDict, total=False):
    log: Annotated[List[Any], operator.add]


def ask(question: Any, **more: Any) -> Any:
    return lambda state: {"log": [interrupt(question, **more)]}


def parallel(**nodes: Any) -> Any:
    """A graph whose nodes all start at once."""
    graph = StateGraph(State)
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
    return graph


@unittest.skipIf(MISSING, MISSING)
class Questions(Told):
    def setUp(self) -> None:
        super().setUp()
        self.handlers: List[Any] = []

    def tearDown(self) -> None:
        for handler in self.handlers:
            self.assertEqual((handler.outcome.waiting, handler.outcome.lost), (0, 0))
        super().tearDown()

    def config(self, thread: str = "t") -> Any:
        """A handler for each run, as if each were in a process of its own: what it must know is in the log."""
        self.handlers.append(PlanwireCallbackHandler(self.bus, wait_s=PATIENCE_S, principal="ann"))
        return {"callbacks": [self.handlers[-1]], "configurable": {"thread_id": f"{self.id()} {thread}"}}

    def test_interrupted_plan_stays_open_and_goes_on_when_it_is_resumed(self) -> None:
        schema = {"type": "boolean"}
        node = ask({"question": "Deploy?", "version": "1.4"}, response_schema=schema)
        graph = parallel(deploy=node).compile(checkpointer=InMemorySaver(), name="deploy")
        graph.invoke({"log": []}, self.config())
        plan = self.roots()[0]
        question = self.bus.plan(plan).questions[0]
        self.assertEqual((question.question, question.step, question.kind), ("Deploy?", "deploy", "input"))
        self.assertEqual((question.schema, question.arguments), (schema, {"question": "Deploy?", "version": "1.4"}))
        self.assertEqual(graph.invoke(Command(resume=True), self.config()), {"log": [True]})
        events = self.only()
        story = ["call deploy langgraph.node", "asks deploy: Deploy?", "answered True", "done deploy langgraph.node"]
        self.assertEqual(self.story(events)["deploy"][0], [*story, "completed"])
        received = self.of_type(events, InputReceived)[0]
        self.assertEqual((received.answered_by, received.via), ("ann", "langgraph"))

    def test_question_of_a_tool_in_a_subgraph_is_repeated_above_and_goes_on_there(self) -> None:
        child = parallel(pays=lambda state: {"log": [pay.invoke({"amount": 3})]}).compile(name="child")
        graph = parallel(sub=child).compile(checkpointer=InMemorySaver(), name="top")
        graph.invoke({"log": []}, self.config())
        self.assertEqual([each.question for each in self.bus.plan(self.roots()[0]).questions], ["Pay?"])
        graph.invoke(Command(resume="yes"), self.config())
        events = self.only()
        story = self.story(events)
        calls = ["call pays langgraph.node", "call pays pay"]
        ends = ["done pays pay", "done pays langgraph.node", "completed"]
        self.assertEqual(story["child"], [[*calls, "asks pays: Pay?", "answered yes", *ends]])
        self.assertEqual(story["top"][0][2:4], ["repeats pays: Pay?", "answered yes"])

    def test_of_several_questions_each_is_answered_by_its_id(self) -> None:
        graph = parallel(a=ask("A?"), b=ask("B?")).compile(checkpointer=InMemorySaver(), name="both")
        asked = graph.invoke({"log": []}, self.config())["__interrupt__"]
        first = next(each for each in asked if each.value == "A?")
        graph.invoke(Command(resume={first.id: 1}), self.config())
        plan = self.roots()[0]
        self.assertEqual([each.question for each in self.bus.plan(plan).questions], ["B?"])
        graph.invoke(Command(resume=2), self.config())
        events = self.only()
        questions = {each.request_id: each.question for each in self.of_type(events, InputRequested)}
        answers = [(questions[each.request_id], each.value) for each in self.of_type(events, InputReceived)]
        self.assertEqual(answers, [("A?", 1), ("B?", 2)])
        self.assertEqual(len(self.of_type(events, ToolCalled)), 2)

    def test_answer_on_the_page_counts_and_the_resumed_graph_goes_on_in_its_plan(self) -> None:
        child = parallel(asks=ask("Which?")).compile(name="child")
        graph = parallel(sub=child).compile(checkpointer=InMemorySaver(), name="paged")
        graph.invoke({"log": []}, self.config())
        top = self.roots()[0]
        inner = self.bus.plan(top).questions[0].for_plan_id
        assert inner is not None
        self.bus.answer(inner, "main", answered_by="bob")
        graph.invoke(Command(resume="main"), self.config())
        events = self.only()
        answers = [(each.plan_id == inner, each.answered_by) for each in self.of_type(events, InputReceived)]
        self.assertEqual(answers, [(True, "bob"), (False, "ann")])
        self.assertIsInstance(events[-1], PlanCompleted)

    def test_same_handler_does_not_mind_that_the_page_was_faster(self) -> None:
        graph = parallel(asks=ask("Which?")).compile(checkpointer=InMemorySaver(), name="raced")
        config = self.config()
        graph.invoke({"log": []}, config)
        # The answer comes between the look at the log and what follows from it.
        outbox = self.handlers[-1]._outbox
        ask_log = outbox.ask

        def then_answer(question: Any) -> Any:
            found: Future[Any] = Future()
            found.set_result(ask_log(question).result(PATIENCE_S))
            self.bus.answer(self.roots()[0], "first", answered_by="bob")
            return found

        outbox.ask = then_answer
        graph.invoke(Command(resume="second"), config)
        events = self.only()
        self.assertEqual([each.value for each in self.of_type(events, InputReceived)], ["first"])
        self.assertIsInstance(events[-1], PlanCompleted)

    def test_breakpoint_is_a_question_for_approval(self) -> None:
        graph = parallel(go=lambda state: {"log": ["gone"]})
        compiled = graph.compile(checkpointer=InMemorySaver(), name="stops", interrupt_before=["go"])
        compiled.invoke({"log": []}, self.config())
        self.assertEqual([each.kind for each in self.bus.plan(self.roots()[0]).questions], ["approval"])
        compiled.invoke(None, self.config())
        story = self.story(self.only())["stops"][0]
        self.assertEqual(story[1:], ["answered True", "call go langgraph.node", "done go langgraph.node", "completed"])

    def test_other_inputs_on_the_thread_end_the_plan_that_waits(self) -> None:
        graph = parallel(asks=ask("Which?")).compile(checkpointer=InMemorySaver(), name="again")
        config = self.config()
        graph.invoke({"log": []}, config)
        graph.invoke({"log": []}, config)
        first, second = self.roots()
        end = list(self.bus.events(first))[-1]
        assert isinstance(end, PlanFailed)
        self.assertEqual((end.reason, end.error.code), ("cancelled", "superseded"))
        self.assertEqual(self.bus.plan(second).state, "open")

    def test_what_a_node_does_not_do_again_is_over_when_it_is_done(self) -> None:
        asked: List[int] = []

        def once(state: Any) -> Any:
            asked.append(1)
            return {"log": [pay.invoke({"amount": 1}) if len(asked) == 1 else "paid by hand"]}

        graph = parallel(once=once).compile(checkpointer=InMemorySaver(), name="once")
        graph.invoke({"log": []}, self.config())
        graph.invoke(Command(resume="yes"), self.config())
        failed = self.of_type(self.only(), ToolCompleted, ok=False)
        self.assertEqual([(each.tool, each.error.code) for each in failed], [("pay", "interrupted")])

    def test_graph_that_waits_is_over_when_the_one_above_it_goes_on(self) -> None:
        own = {"configurable": {"thread_id": "own"}}
        inner = parallel(asks=ask("Which?")).compile(checkpointer=InMemorySaver(), name="inner")
        outer = parallel(goes=lambda state: {"log": [len(inner.invoke({"log": []}, own)["__interrupt__"])]})
        self.assertEqual(outer.compile(name="outer").invoke({"log": []}, self.config()), {"log": [1]})
        story = self.story(self.only())
        ends = ["asks asks: Which?", "failed asks langgraph.node", "failed cancelled not_ended"]
        self.assertEqual(story["inner"][0][1:], ends)
        withdrawn = ["done goes langgraph.node", "withdrawn None", "subplan failed", "completed"]
        self.assertEqual(sorted(story["outer"][0][-4:]), sorted(withdrawn))

    def test_run_that_died_goes_on_in_its_plan(self) -> None:
        graph = parallel(first=lambda state: {"log": ["first"]})
        graph.add_node("then", lambda state: {"log": ["then"]})
        graph.add_edge("first", "then")
        compiled = graph.compile(checkpointer=InMemorySaver(), name="died")
        # A stream that nobody reads on is, for the log, a process that is gone.
        dead = compiled.stream({"log": []}, self.config(), durability="sync")
        next(dead)
        self.assertTrue(self.handlers[0].flush(PATIENCE_S))
        compiled.invoke(None, self.config())
        story = self.story(self.only())["died"][0]
        calls = [each for each in story if each.startswith("call")]
        self.assertEqual(calls, ["call first langgraph.node", "call then langgraph.node"])
        self.assertEqual(story[-1], "completed")
        # It was not dead. What it says now has no place any more; that is counted and said.
        with self.assertLogs("planwire", "ERROR"):
            dead.close()
            self.assertTrue(self.handlers[0].flush(PATIENCE_S))
        self.assertEqual(self.handlers.pop(0).outcome.lost, 1)

    def test_threads_that_wait_are_told_apart_also_asynchronously(self) -> None:
        graph = parallel(asks=ask("Which?")).compile(checkpointer=InMemorySaver(), name="apart")

        async def run() -> None:
            threads = [self.config(str(number)) for number in range(5)]
            await asyncio.gather(*(graph.ainvoke({"log": []}, each) for each in threads))
            await asyncio.gather(
                *(graph.ainvoke(Command(resume=number), each) for number, each in enumerate(threads))
            )

        asyncio.run(run())
        roots = self.roots()
        self.assertEqual(len(roots), 5)
        for root in roots:
            events = list(self.bus.events(root, tree=True))
            self.check(events)
            thread = events[0].payload["context_id"]
            self.assertEqual(self.of_type(events, InputReceived)[0].value, int(thread.rpartition(" ")[2]))


if __name__ == "__main__":
    unittest.main()
