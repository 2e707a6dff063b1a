"""LangGraph graphs whose nodes do nothing, each step durable before the next, as a rival of the benchmark.

Says `ready`; then each line of its input is a JSON object: `children` (0: none), `steps`, `runs`, `database`. Answers
with a list: the seconds of each run, from the call until the graph has ended.

Checkpoints go to SQLite by SqliteSaver with durability "sync": a step's checkpoint is written before the next begins. The
database is set to WAL (which the saver does) and synchronous=FULL, so that what is written is on the disk.
"""

import json
import operator
import sqlite3
import sys
import time
from typing import Annotated, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

CHECKPOINTS_OF_NO_STEP = 10


class State(TypedDict):
    last: int
    done: Annotated[list, operator.add]


class Parent(TypedDict):
    items: list
    done: Annotated[list, operator.add]


def step(state):
    return {"last": state["last"] + 1}


def last_step(state):
    return {"last": state["last"] + 1, "done": [state["last"] + 1]}


def sequence(steps):
    graph, before = StateGraph(State), START
    for number in range(steps):
        name = f"s{number}"
        graph.add_node(name, last_step if number == steps - 1 else step)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def children(steps):
    graph = StateGraph(Parent)
    graph.add_node("child", sequence(steps).compile())
    graph.add_conditional_edges(START, lambda state: [Send("child", {"last": 0}) for _ in state["items"]], ["child"])
    graph.add_edge("child", END)
    return graph


def measure(asked):
    connection = sqlite3.connect(asked["database"], check_same_thread=False)
    saver = SqliteSaver(connection)
    saver.setup()
    connection.execute("PRAGMA synchronous=FULL")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    count, steps = asked["children"], asked["steps"]
    graph = (children(steps) if count else sequence(steps)).compile(checkpointer=saver)
    begin = {"items": list(range(count)), "done": []} if count else {"last": 0, "done": []}
    seconds = []
    for run in range(asked["runs"] + 1):
        config = {"configurable": {"thread_id": str(run)}, "recursion_limit": steps + CHECKPOINTS_OF_NO_STEP}
        begun = time.perf_counter()
        end = graph.invoke(begin, config, durability="sync")
        seconds.append(time.perf_counter() - begun)
        assert end["done"] == [steps] * max(count, 1), end
    connection.close()
    # The first one is not measured, here as on the other side.
    return seconds[1:]


print("ready", flush=True)
for line in sys.stdin:
    print(json.dumps(measure(json.loads(line))), flush=True)
