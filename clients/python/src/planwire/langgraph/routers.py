"""Conditional edges as decisions.

A callback does not say that a run is a router: its name and place could be those of any function. The graph knows, so
decisions are told of graphs that the handler was given, and of the subgraphs that can be found in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from langgraph.types import Send

from ..events import DecisionMade, DecisionOption
from .plain import text_of

LABEL_CHARS_MAX = 200
"""Characters of what a router gives as a name."""

CHOSEN_MAX = 50
"""Destinations of one decision that are named; a fan-out has one for each item."""


@dataclass(frozen=True)
class Router:
    """A function that says where a graph goes after a node."""

    name: str
    ends: Optional[Mapping[Any, str]]
    """Which node each of its results means; None where nobody said."""

    def decision(self, plan_id: str, decision_id: str, node: str, result: Any) -> DecisionMade:
        """What it gave, as a decision."""
        given = list(result) if isinstance(result, (list, tuple)) else [result]
        labels = [_label(each) for each in given]
        options = [DecisionOption(_label(each), "" if _label(each) == node_ else node_) for each, node_ in self._ends()]
        options += [DecisionOption(each) for each in dict.fromkeys(labels) if each not in {o.name for o in options}]
        chosen = ", ".join(_counted(labels)) or "nothing"
        question = f"Where does it go after {node}?"
        event = DecisionMade(plan_id, decision_id, "route", question, options, chosen, "rule", step=node)
        event.rationale = f"{self.name} says so"
        return event

    def _ends(self) -> Sequence[Tuple[Any, str]]:
        return list(self.ends.items()) if self.ends else []


class Routers:
    """The routers of a graph and of its subgraphs, by where they stand."""

    def __init__(self, graph: Any = None) -> None:
        self._routers: Dict[Tuple[str, str, str], Router] = {}
        if graph is not None:
            self._add("", graph)
            for path, below in graph.get_subgraphs(recurse=True):
                self._add(path, below)

    def _add(self, path: str, graph: Any) -> None:
        branches = getattr(getattr(graph, "builder", None), "branches", None) or {}
        for node, by_name in branches.items():
            for name, branch in by_name.items():
                told = branch.path.get_name()
                self._routers[path, node, told] = Router(name, branch.ends)

    def find(self, ns: str, node: str, name: str, tags: Sequence[str]) -> Optional[Router]:
        """The router of this name behind a node, whose place is ``ns``; None if there is none."""
        # The first step of a node is the node itself: what it calls may have any name.
        if not self._routers or "seq:step:1" in tags:
            return None
        path = "|".join(part.partition(":")[0] for part in ns.split("|")[:-1])
        return self._routers.get((path, node, name))


def _label(result: Any) -> str:
    if isinstance(result, Send):
        return str(result.node)
    return text_of(result, LABEL_CHARS_MAX)


def _counted(labels: Sequence[str]) -> List[str]:
    """Labels without repetitions, with how often each stands there."""
    counts: Dict[str, int] = {}
    for each in labels:
        counts[each] = counts.get(each, 0) + 1
    named = [each if count == 1 else f"{count} x {each}" for each, count in counts.items()]
    return named[:CHOSEN_MAX]
