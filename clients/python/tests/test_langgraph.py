"""Real graphs against the real server: what a run tells."""

import asyncio
import operator
import threading
import unittest
from typing import Annotated, Any, List, TypedDict
from uuid import UUID, uuid4

from planwire import DecisionMade, PlanFailed, PlanStarted, SubplanSpawned, ToolCalled, ToolCompleted

from .graphs import MISSING, Told
from .scripted import PATIENCE_S

if not MISSING:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import tool
    from langgraph.func import entrypoint, task
    from langgraph.graph import END, START, StateGraph
    from langgraph.prebuilt import ToolNode
    from langgraph.types import Command, RetryPolicy, Send

    from planwire.langgraph import PlanwireCallbackHandler

    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    @tool
    def divide(a: int, b: int) -> float:
        """Divides."""
        return a / b


class State(TypedDict, total=False):
    log: Annotated[List[Any], operator.add]
    messages: List[Any]


def note(text: str) -> Any:
    return lambda state: {"log": [text]}


def line(*names: str, **nodes: Any) -> Any:
    """A graph whose nodes follow one another."""
    graph = StateGraph(State)
    for name in names:
        graph.add_node(name, nodes.get(name, note(name)))
    for one, other in zip([START, *names], [*names, END]):
        graph.add_edge(one, other)
    return graph


@unittest.skipIf(MISSING, MISSING)
class Runs(Told):
    def setUp(self) -> None:
        super().setUp()
        self.handler = PlanwireCallbackHandler(self.bus, wait_s=PATIENCE_S)
        self.config: Any = {"callbacks": [self.handler]}

    def tearDown(self) -> None:
        self.assertEqual((self.handler.outcome.waiting, self.handler.outcome.lost), (0, 0))
        super().tearDown()

    def test_graph_is_a_plan_under_the_id_of_its_run(self) -> None:
        run_id = uuid4()
        config = {**self.config, "run_id": run_id, "metadata": {"planwire_goal": "Be seen"}}
        config["configurable"] = {"thread_id": "weekly"}
        line("a", "b").compile(name="two").invoke({"log": ["x"]}, config)
        events = self.only()
        started = events[0]
        assert isinstance(started, PlanStarted)
        self.assertEqual((started.plan_id, started.name, started.goal), (str(run_id), "two", "Be seen"))
        self.assertEqual((started.inputs, started.context_id), ({"log": ["x"]}, "weekly"))
        self.assertEqual(
            self.story(events),
            {
                "two": [
                    [
                        "call a langgraph.node",
                        "done a langgraph.node",
                        "call b langgraph.node",
                        "done b langgraph.node",
                        "completed",
                    ]
                ]
            },
        )
        self.assertEqual(events[-1].payload["outputs"], {"log": ["x", "a", "b"]})
        self.assertEqual(events[-1].payload["counts"], {"tool_calls": 2})
        self.assertEqual(self.of_type(events, ToolCalled, step="b")[0].arguments, {"log": ["x", "a"]})
        self.assertEqual(self.of_type(events, ToolCompleted, step="b")[0].output, {"log": ["b"]})

    def test_invoke_stream_and_their_async_kin_tell_the_same(self) -> None:
        graph = line("a", "b").compile(name="same")

        async def collect() -> None:
            await graph.ainvoke({"log": []}, self.config)
            # As in a notebook: a run in the thread of an event loop.
            graph.invoke({"log": []}, self.config)
            async for _ in graph.astream({"log": []}, self.config):
                pass

        graph.invoke({"log": []}, self.config)
        list(graph.stream({"log": []}, self.config))
        asyncio.run(collect())
        roots = self.roots()
        self.assertEqual(len(roots), 5)
        stories = []
        for root in roots:
            events = list(self.bus.events(root, tree=True))
            self.check(events)
            stories.append(self.story(events))
        self.assertTrue(all(each == stories[0] for each in stories), stories)

    def test_tools_and_models_are_calls_of_their_node(self) -> None:
        asked = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "t1"}])
        used = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
        said = AIMessage("three", usage_metadata=used)
        model = GenericFakeChatModel(messages=iter([said]))
        nodes = {
            "ask": lambda state: {"messages": [asked]},
            "tools": ToolNode([add]),
            "say": lambda state: {"messages": [model.invoke(state["messages"])]},
        }
        line("ask", "tools", "say", **nodes).compile().invoke({"messages": []}, self.config)
        events = self.only()
        called = self.of_type(events, ToolCalled, tool="add")[0]
        self.assertEqual((called.step, called.arguments), ("tools", {"a": 1, "b": 2}))
        self.assertEqual(called.extra["langgraph"]["tool_call_id"], "t1")
        done = self.of_type(events, ToolCompleted, tool="add")[0]
        self.assertEqual((done.ok, done.output), (True, "3"))
        model_called = self.of_type(events, ToolCalled, tool="model:GenericFakeChatModel")[0]
        self.assertEqual(model_called.step, "say")
        self.assertEqual(model_called.arguments["messages"][0]["content"], "3")
        model_done = self.of_type(events, ToolCompleted, tool=model_called.tool)[0]
        self.assertEqual((model_done.output["content"], model_done.usage), ("three", used))

    def test_error_of_a_tool_is_told_where_it_happened_and_where_it_was_handled(self) -> None:
        asked = AIMessage("", tool_calls=[{"name": "divide", "args": {"a": 1, "b": 0}, "id": "t1"}])
        handled = ToolNode([divide], handle_tool_errors=True)
        graph = line("ask", "tools", ask=lambda state: {"messages": [asked]}, tools=handled)
        graph.compile(name="handled").invoke({"messages": []}, self.config)
        events = self.only()
        failed = self.of_type(events, ToolCompleted, ok=False)
        told = [(each.tool, each.error.code, each.error.step) for each in failed]
        self.assertEqual(told, [("divide", "ZeroDivisionError", "tools")])
        self.assertEqual(events[-1].event_type, "PlanCompleted")

    def test_error_of_a_node_fails_the_plan(self) -> None:
        def bad(state: Any) -> Any:
            divide.invoke({"a": 1, "b": 0})

        with self.assertRaises(ZeroDivisionError):
            line("a", "bad", bad=bad).compile(name="bad").invoke({"log": []}, self.config)
        events = self.only()
        self.assertEqual(
            self.story(events)["bad"][0][2:],
            [
                "call bad langgraph.node",
                "call bad divide",
                "failed bad divide",
                "failed bad langgraph.node",
                "failed error ZeroDivisionError",
            ],
        )
        end = events[-1]
        assert isinstance(end, PlanFailed)
        self.assertEqual(end.error.message, "division by zero")

    def test_node_that_is_tried_again_says_so(self) -> None:
        tries: List[int] = []

        def flaky(state: Any) -> Any:
            tries.append(1)
            if len(tries) < 2:
                raise ConnectionError("not yet")
            return {"log": ["there"]}

        graph = StateGraph(State)
        graph.add_node("flaky", flaky, retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.01))
        graph.add_edge(START, "flaky")
        graph.compile(name="flaky").invoke({"log": []}, self.config)
        calls = ["call flaky langgraph.node", "failed flaky langgraph.node", "call flaky langgraph.node again 2"]
        self.assertEqual(self.story(self.only())["flaky"][0], [*calls, "done flaky langgraph.node", "completed"])

    def test_subgraphs_are_subplans_at_every_depth(self) -> None:
        inner = line("deep").compile(name="inner")
        middle = line("inner", inner=inner).compile()
        by_hand = line("x", x=lambda state: {"log": middle.invoke({"log": []})["log"]}).compile(name="by hand")
        line("middle", "last", middle=by_hand).compile(name="outer").invoke({"log": []}, self.config)
        events = self.only()
        self.assertEqual([event.stored.depth for event in self.of_type(events, PlanStarted)], [0, 1, 2, 3])
        story = self.story(events)
        self.assertEqual(list(story), ["outer", "by hand", "x", "inner"])
        self.assertEqual(story["inner"], [["call deep langgraph.node", "done deep langgraph.node", "completed"]])
        x = ["call inner langgraph.node", "spawn inner inner", "subplan done", "done inner langgraph.node", "completed"]
        self.assertEqual(story["x"], [x])

    def test_parallel_subgraphs_are_told_apart(self) -> None:
        child = line("one", one=lambda state: {"log": [state["log"][0] * 2]}).compile(name="child")
        graph = StateGraph(State)
        graph.add_node("start", note("s"))
        graph.add_node("child", lambda state: {"log": child.invoke(state)["log"][1:]})
        graph.add_edge(START, "start")
        graph.add_conditional_edges("start", lambda state: [Send("child", {"log": [n]}) for n in range(20)], ["child"])
        result = graph.compile(name="fan").invoke({"log": []}, self.config)
        events = self.only()
        spawned = self.of_type(events, SubplanSpawned)
        self.assertEqual(sorted(each.item for each in spawned), list(range(20)))
        for each in spawned:
            own = [event for event in events if event.plan_id == each.child_plan_id]
            self.assertEqual(each.inputs, {"log": [each.item]})
            self.assertEqual(own[-1].payload["outputs"], {"log": [each.item, each.item * 2]})
        self.assertEqual(len(self.story(events)["child"]), 20)
        self.assertEqual(len(result["log"]), 21)

    def test_error_in_a_subgraph_fails_all_above_it(self) -> None:
        def bad(state: Any) -> Any:
            raise LookupError("nothing there")

        child = line("bad", bad=bad).compile(name="child")
        with self.assertRaises(LookupError):
            line("sub", sub=child).compile(name="top").invoke({"log": []}, self.config)
        story = self.story(self.only())
        self.assertEqual(story["child"][0][-1], "failed error LookupError")
        ends = ["subplan failed", "failed sub langgraph.node", "failed error LookupError"]
        self.assertEqual(story["top"][0][2:], ends)

    def test_command_to_the_graph_above_is_no_failure(self) -> None:
        child = line("hand", hand=lambda state: Command(graph=Command.PARENT, goto="last", update={"log": ["over"]}))
        graph = StateGraph(State)
        graph.add_node("child", child.compile(name="child"))
        graph.add_node("last", note("last"))
        graph.add_edge(START, "child")
        graph.compile(name="top").invoke({"log": []}, self.config)
        events = self.only()
        self.assertEqual(self.of_type(events, ToolCompleted, ok=False), [])
        self.assertEqual(self.story(events)["child"][0][-1], "completed")

    def test_tasks_of_the_functional_api_are_calls(self) -> None:
        @task
        def double(number: int) -> int:
            return 2 * number

        @entrypoint()
        def flow(number: int) -> int:
            return double(number).result() + 1

        self.assertEqual(flow.invoke(3, self.config), 7)
        events = self.only()
        self.assertEqual(
            self.story(events),
            {
                "LangGraph": [
                    [
                        "call flow langgraph.node",
                        "call double langgraph.task",
                        "done double langgraph.task",
                        "done flow langgraph.node",
                        "completed",
                    ]
                ]
            },
        )
        self.assertEqual((events[0].payload["inputs"], events[-1].payload["outputs"]), ({"input": 3}, {"output": 7}))

    def test_limit_of_steps_and_closed_streams_have_their_own_reasons(self) -> None:
        graph = StateGraph(State)
        graph.add_node("a", note("a"))
        graph.add_edge(START, "a")
        graph.add_edge("a", "a")
        with self.assertRaises(RecursionError):
            graph.compile(name="round").invoke({"log": []}, {**self.config, "recursion_limit": 3})
        stream = line("a", "b").compile(name="closed").stream({"log": []}, self.config)
        next(iter(stream))
        stream.close()
        ends = [list(self.bus.events(root))[-1] for root in self.roots()]
        reasons = [(end.reason, end.error.code) for end in ends if isinstance(end, PlanFailed)]
        self.assertEqual(reasons, [("limit_exceeded", "GraphRecursionError"), ("cancelled", "GeneratorExit")])

    def test_cancelled_task_is_a_cancelled_plan(self) -> None:
        begun = asyncio.Event()

        async def endless(state: Any) -> Any:
            begun.set()
            await asyncio.Event().wait()

        async def cancel() -> None:
            graph = line("endless", endless=endless).compile(name="endless")
            running = asyncio.ensure_future(graph.ainvoke({"log": []}, self.config))
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running

        asyncio.run(cancel())
        self.handler.flush(PATIENCE_S)
        story = self.story(self.only())["endless"][0]
        self.assertEqual(story[-2:], ["failed endless langgraph.node", "failed cancelled CancelledError"])

    def test_one_handler_serves_many_runs_in_threads_and_tasks(self) -> None:
        child = line("c", c=lambda state: {"log": [add.invoke({"a": state["log"][0], "b": 1})]}).compile(name="child")
        graph = StateGraph(State)
        graph.add_node("x", note("x"))
        graph.add_node("y", lambda state: {"log": child.invoke(state)["log"][1:]})
        for each in ("x", "y"):
            graph.add_edge(START, each)
        compiled = graph.compile(name="many")

        async def several() -> None:
            await asyncio.gather(*(compiled.ainvoke({"log": [n]}, self.config) for n in range(100, 108)))

        threads = [threading.Thread(target=compiled.invoke, args=({"log": [n]}, self.config)) for n in range(8)]
        for thread in threads:
            thread.start()
        asyncio.run(several())
        for thread in threads:
            thread.join(PATIENCE_S)
        roots = self.roots()
        self.assertEqual(len(roots), 16)
        for root in roots:
            events = list(self.bus.events(root, tree=True))
            self.check(events)
            number = events[0].payload["inputs"]["log"][0]
            self.assertEqual(self.of_type(events, ToolCompleted, tool="add")[0].output, number + 1)
            self.assertEqual({name: len(plans) for name, plans in self.story(events).items()}, {"many": 1, "child": 1})

    def test_chain_around_a_graph_is_the_plan_and_the_graph_its_subplan(self) -> None:
        chain = RunnableLambda(lambda value: {"log": [value]}) | line("a").compile(name="graph")
        chain.invoke("x", {**self.config, "run_name": "chain"})
        self.assertEqual(list(self.story(self.only())), ["chain", "graph"])

    def test_conditional_edges_of_a_graph_that_is_known_are_decisions(self) -> None:
        def left_or_right(state: Any) -> str:
            return "l" if len(state["log"]) < 3 else "r"

        def by_hand(state: Any) -> Any:
            # It has the name of the router, and is none.
            RunnableLambda(left_or_right).invoke(state)
            return {"log": ["a"]}

        def two_sided(name: str, **more: Any) -> Any:
            graph = StateGraph(State)
            for node, act in {"a": by_hand, "left": note("left"), "right": note("right"), **more}.items():
                graph.add_node(node, act)
            graph.add_edge(START, "a")
            graph.add_conditional_edges("a", left_or_right, {"l": "left", "r": "right"})
            return graph

        top = two_sided("top", left=two_sided("below").compile(name="below"), many=note("many"))
        top.add_conditional_edges("left", lambda state: [Send("many", state), Send("many", state), END])
        graph = top.compile(name="top")
        handler = PlanwireCallbackHandler(self.bus, wait_s=PATIENCE_S, graph=graph)
        graph.invoke({"log": []}, {"callbacks": [handler]})
        events = self.only()
        made = {(event.plan_id == events[0].plan_id, event.step): event for event in self.of_type(events, DecisionMade)}
        first = made[True, "a"]
        self.assertEqual((first.chosen, first.decided_by, first.rationale), ("l", "rule", "left_or_right says so"))
        self.assertEqual([(each.name, each.description) for each in first.options], [("l", "left"), ("r", "right")])
        self.assertEqual(made[True, "left"].chosen, f"2 x many, {END}")
        self.assertEqual(len(made), 3)
        self.assertEqual(events[-1].payload["counts"], {"tool_calls": 4, "decisions": 2, "subplans": 1})
        story = self.story(events)["top"][0]
        self.assertEqual(story[1:3], ["decides a: l", "done a langgraph.node"])

    def test_tool_on_its_own_is_no_plan(self) -> None:
        add.invoke({"a": 1, "b": 2}, self.config)
        self.assertEqual(self.roots(), [])

    def test_values_that_are_no_json_do_not_break_the_run(self) -> None:
        class Odd:
            def __repr__(self) -> str:
                raise RuntimeError("no text")

        circle: List[Any] = []
        circle.append(circle)
        odd = [Odd(), circle, {1: "a", "1": "b"}, 2**80, float("nan"), b"\0\1", "a\0b\ud800", {"x", "y"}, UUID(int=1)]
        big = "é" * 3_000_000
        line("a", a=lambda state: {"log": [big, *odd]}).compile(name="odd").invoke({"log": odd}, self.config)
        events = self.only()
        self.assertEqual(events[0].payload["inputs"]["log"][3:5], [str(2**80), "nan"])
        done = self.of_type(events, ToolCompleted)[0]
        self.assertTrue(done.truncated)
        self.assertIn("more characters", done.output["log"][0])
        self.assertEqual(events[-1].event_type, "PlanCompleted")


if __name__ == "__main__":
    unittest.main()
