"""Which of LangChain's runs is what: a graph, a node, a call of a tool or model, or nothing that is told.

LangChain calls back with run ids and those of their parents. A run of a graph is a plan; the tag ``graph:step:N`` names
its nodes, so that a run whose child has that tag is a graph. Every method takes the lock, so that events leave in one
order; they come back as the future of the outbox.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable, Dict, Mapping, Optional, Sequence
from uuid import UUID

from langgraph.errors import GraphInterrupt, ParentCommand

from ..bus import EventBus
from ..event import now
from ..events import Failure
from ..shape import Json
from .failures import failure_of, reason_of
from .outbox import Outbox
from .plain import Plain
from .questions import answers, asked, resumes, stopped
from .restore import MEMBER, folded, interrupted
from .routers import Router, Routers
from .tree import DEPTH_MAX, EMPTY, NODE, TASK, Call, Plan, Tree

log = logging.getLogger("planwire")

PAUSED_MAX = 10_000
"""Threads that wait to be resumed and whose plan is known; that of another one is looked for in the log."""

GONE_RUNS_MAX = 20_000
"""Runs of which it is remembered that their tree has ended; what they start later is nothing."""

UNNAMED = "LangGraph"
"""The name of a graph that was given none."""

Receipt = Optional["Future[None]"]
"""Ends when all that a tree has told so far is on disk."""


@dataclass(frozen=True)
class Started:
    """What a callback says of a run that starts."""

    run_id: UUID
    parent_run_id: Optional[UUID]
    name: str
    inputs: Any
    metadata: Mapping[str, Any]
    tags: Sequence[str]
    began: datetime = field(default_factory=now)

    @property
    def ns(self) -> str:
        """The place in the tree of graphs, empty at the root."""
        return str(self.metadata.get("langgraph_checkpoint_ns") or "")

    @property
    def is_node(self) -> bool:
        """Whether it is a node of the graph that its parent is."""
        return any(tag.startswith("graph:step:") for tag in self.tags)

    @property
    def thread_id(self) -> Optional[str]:
        """The thread, which a checkpointer knows."""
        thread = self.metadata.get("thread_id")
        return None if thread is None else str(thread)

    @property
    def item(self) -> Optional[int]:
        """Its place among what was sent with ``Send``."""
        path = self.metadata.get("langgraph_path")
        if isinstance(path, (tuple, list)) and len(path) > 1 and path[0] == "__pregel_push":
            return path[1] if isinstance(path[1], int) else None
        return None


@dataclass(eq=False)
class Run:
    """A run that has not ended."""

    started: Started
    tree: Tree
    plan: Plan
    """The plan that it is, if it is a graph; else the one in which it is."""
    step: str
    """The node in which it is."""
    ns: str
    is_graph: bool = False
    call: Optional[Call] = None
    interrupted: bool = False
    router: Optional[Router] = None


class Runs:
    """The runs that one handler is told of."""

    def __init__(self, outbox: Outbox, plain: Callable[[Any], Plain], principal: str, routers: Routers) -> None:
        self._outbox = outbox
        self._plain = plain
        self._principal = principal
        self._routers = routers
        self._lock = threading.Lock()
        self._runs: Dict[UUID, Run] = {}
        self._paused: OrderedDict[Any, str] = OrderedDict()
        self._gone: OrderedDict[UUID, None] = OrderedDict()

    def question(self, started: Started) -> Optional[Callable[[EventBus], Optional[Tree]]]:
        """What the log should be asked before a run starts: which open plan it goes on with, or takes the place of.

        The log, and not this process: another one may have gone on with the plan meanwhile.
        """
        with self._lock:
            if started.thread_id is None or started.parent_run_id in self._runs:
                return None
            known = self._paused.get(_thread_of(started))
        name, thread_id = started.name, started.thread_id
        if resumes(started.inputs):
            return lambda bus: (folded(bus, known) if known else None) or interrupted(bus, name, thread_id)
        return (lambda bus: folded(bus, known)) if known else None

    def chain(self, started: Started, found: Optional[Tree] = None) -> Receipt:
        """A graph, a node, a task or a mere chain starts. ``found`` is what the log has of its thread."""
        inputs = self._plain(started.inputs)
        with self._lock:
            parent = self._parent(started)
            if parent is None:
                return self._root(started, inputs, found)
            if started.is_node:
                if not parent.is_graph:
                    self._become_graph(parent, started.ns.rpartition("|")[0])
                return self._call(started, parent, NODE, started.name, inputs, {})
            if started.ns and started.ns != parent.ns and not parent.is_graph:
                return self._call(started, parent, TASK, started.name, inputs, {})
            run = Run(started, parent.tree, parent.plan, parent.step, parent.ns)
            if parent.call is not None and parent.call.tool == NODE:
                run.router = self._routers.find(parent.ns, parent.step, started.name, started.tags)
            self._runs[started.run_id] = run
            return None

    def called(self, started: Started, tool: str, extra: Json) -> Receipt:
        """A tool, a model or a retriever is called."""
        arguments = self._plain(started.inputs)
        with self._lock:
            parent = self._parent(started)
            if parent is None:
                # A tool or a model on its own is no plan.
                return None
            return self._call(started, parent, tool, parent.step, arguments, extra)

    def ended(
        self, run_id: UUID, output: Any, error: Optional[Failure] = None, usage: Optional[Json] = None
    ) -> Receipt:
        """A run ended; ``error`` says why a call did not do what it was called for."""
        value = self._plain(output)
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is None or run.plan.ended:
                return None
            if run.call is not None:
                self._end_call(run, value, error, usage)
            elif run.router is not None:
                run.tree.decide(run.plan, run.router.decision(run.plan.plan_id, str(run_id), run.step, output))
            elif run.is_graph and run.interrupted:
                self._pause(run)
            elif run.is_graph:
                run.tree.complete(run.plan, value)
            return self._put(run)

    def failed(self, run_id: UUID, error: BaseException) -> Receipt:
        """A run raised something."""
        command = self._plain(error.args[0]) if isinstance(error, ParentCommand) and error.args else None
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is None or run.plan.ended:
                return None
            if command is not None and (run.plan.parent is not None or run.call is not None):
                # A command to the graph above is how this one ends well.
                self._hand_over(run, command)
            elif isinstance(error, GraphInterrupt):
                self._interrupt(run, error)
            elif run.call is not None:
                self._end_call(run, EMPTY, failure_of(error, run.step), None)
            elif run.is_graph:
                run.tree.fail(run.plan, reason_of(error), failure_of(error))
            return self._put(run)

    def stopped(self, run_id: Optional[UUID], status: str, checkpoint_id: str, asks: bool) -> Receipt:
        """A graph will be over before its end, since it was interrupted; unless it ``asks`` that is a breakpoint."""
        with self._lock:
            run = self._runs.get(run_id) if run_id is not None else None
            if run is None or run.plan.ended:
                return None
            run.interrupted = True
            if not asks:
                request = stopped(status, checkpoint_id, run.plan.plan_id)
                run.tree.ask(run.plan, request, len(request.question))
            return self._put(run)

    def resumed(self, run_id: Optional[UUID], ns: str) -> None:
        """A graph goes on where it was: a subgraph is known as one before its first node starts."""
        with self._lock:
            run = self._runs.get(run_id) if run_id is not None else None
            if run is not None and not run.is_graph and not run.plan.ended:
                self._become_graph(run, ns)
                self._put(run)

    def _parent(self, started: Started) -> Optional[Run]:
        """The run above; None for a root, and for what a tree starts after its end."""
        return None if started.parent_run_id is None else self._runs.get(started.parent_run_id)

    def _root(self, started: Started, inputs: Plain, found: Optional[Tree]) -> Receipt:
        if started.parent_run_id in self._gone or started.run_id in self._runs:
            log.debug("run %s belongs to a plan that has ended", started.run_id)
            return None
        self._paused.pop(_thread_of(started), None)
        tree = found if resumes(started.inputs) else None
        if found is not None and tree is None and found.questions:
            found.fail(found.root, "cancelled", Failure("superseded", "its thread went on with other inputs"))
            self._outbox.put(found.root.plan_id, found.take())
        if tree is None:
            tree = Tree(Plan(str(started.run_id), started.name))
            goal = str(started.metadata.get("planwire_goal") or "")
            tree.begin(inputs, goal, started.thread_id, {})
        else:
            tree.root.paused = False
            for request_id, value in answers(started.inputs, list(tree.questions)).items():
                tree.answer(request_id, self._plain(value), self._principal)
        run = Run(started, tree, tree.root, "", "", is_graph=True)
        self._runs[started.run_id] = run
        return self._put(run)

    def _become_graph(self, run: Run, ns: str) -> None:
        """A chain turns out to be a graph, which is a plan of its own: a new one, or one that was interrupted."""
        parent, run.is_graph = run.plan, True
        if parent.depth >= DEPTH_MAX:
            run.is_graph = False
            return
        for child in parent.children.values():
            if child.paused and child.ns == ns:
                child.paused, run.plan = False, child
                return
        started = run.started
        name = run.step or started.name if started.name == UNNAMED else started.name
        run.plan = Plan(str(started.run_id), name, parent, ns, started.began)
        extra = {MEMBER: {"ns": ns}}
        run.tree.spawn(run.plan, run.step, started.item, self._plain(started.inputs), extra)

    def _call(self, started: Started, parent: Run, tool: str, step: str, arguments: Plain, extra: Json) -> Receipt:
        plan = parent.plan
        if plan.ended:
            return None
        ns = started.ns or parent.ns
        key = " ".join([tool, ns, str(extra.get("tool_call_id") or "")]).strip()
        call = Call(str(started.run_id), tool, step, key, ns, began=started.began)
        place = {"ns": ns, "key": key, **extra}
        call = parent.tree.call(plan, call, arguments, {MEMBER: place})
        run = Run(started, parent.tree, plan, step, ns, call=call)
        self._runs[started.run_id] = run
        return self._put(run)

    def _end_call(self, run: Run, value: Plain, error: Optional[Failure], usage: Optional[Json]) -> None:
        assert run.call is not None
        if run.call.tool in (NODE, TASK):
            run.tree.close_paused(run.plan, run.ns)
        run.tree.end_call(run.plan, run.call, value, error, usage)

    def _hand_over(self, run: Run, command: Plain) -> None:
        if run.call is not None:
            self._end_call(run, command, None, None)
        elif run.is_graph:
            run.tree.complete(run.plan, command)

    def _interrupt(self, run: Run, error: GraphInterrupt) -> None:
        """A node or a tool asks: its call stays open, since it is done again when the answer is there."""
        interrupts = error.args[0] if error.args else ()
        for each in interrupts if isinstance(interrupts, (tuple, list)) else ():
            request = asked(each, run.plan.plan_id, run.step)
            run.tree.ask(run.plan, request, self._plain(each.value).size_bytes)
        if run.call is not None:
            run.call.paused = True
        elif run.is_graph:
            self._pause(run)

    def _pause(self, run: Run) -> None:
        run.plan.paused = True
        key = _thread_of(run.started)
        if run.plan.parent is not None or key is None:
            return
        self._paused[key] = run.plan.plan_id
        if len(self._paused) > PAUSED_MAX:
            self._paused.popitem(last=False)

    def _put(self, run: Run) -> Receipt:
        """Hands out what has happened. After the end of a root nothing of it is known any more."""
        if run.is_graph and run.plan is run.tree.root and run.started.run_id not in self._runs:
            for run_id in [each for each, other in self._runs.items() if other.tree is run.tree]:
                del self._runs[run_id]
                self._forget(run_id)
            self._forget(run.started.run_id)
        events = run.tree.take()
        if events:
            run.tree.receipt = self._outbox.put(run.tree.root.plan_id, events)
        return run.tree.receipt

    def _forget(self, run_id: UUID) -> None:
        self._gone[run_id] = None
        if len(self._gone) > GONE_RUNS_MAX:
            self._gone.popitem(last=False)


def _thread_of(started: Started) -> Any:
    """What a tree that waits is found by; None if it has no thread."""
    return None if started.thread_id is None else (started.name, started.thread_id)
