"""Which events a reader wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, List, Optional, Tuple, Type, Union

from .event import EVENT_CLASSES, BaseEvent
from .wire import path, with_query

EventTypes = Union[str, Type[BaseEvent], Iterable[Union[str, Type[BaseEvent]]]]
"""A type by its name or its dataclass, or several."""


@dataclass(frozen=True)
class Selection:
    """A plan, a tree or the whole log; all types, or some."""

    plan_id: Optional[str] = None
    tree: bool = False
    types: Tuple[str, ...] = ()

    @classmethod
    def of(cls, event_types: Optional[EventTypes], plan_id: Optional[str], tree: bool) -> Selection:
        """Checks what a caller gave. Raises ValueError."""
        if tree and plan_id is None:
            raise ValueError("tree needs a plan: name one by plan_id")
        if event_types is None:
            return cls(plan_id, tree)
        given = [event_types] if isinstance(event_types, (str, type)) else list(event_types)
        types = tuple(dict.fromkeys(type_name(each) for each in given))
        if not types:
            raise ValueError("event_types is empty: None stands for all types")
        return cls(plan_id, tree, types)

    def target(self, after: Optional[str] = None, limit: Optional[int] = None) -> str:
        """The path and query that ask for these events."""
        where = path("v1", "events") if self.plan_id is None else path("v1", "plans", self.plan_id, "events")
        pairs: List[Tuple[str, Optional[str]]] = [("event_type", each) for each in self.types]
        pairs += [("tree", "true" if self.tree else None), ("after", after)]
        pairs += [("limit", None if limit is None else str(limit))]
        return with_query(where, pairs)

    @property
    def counts_up(self) -> bool:
        """Whether ``seq`` must rise by one from event to event: all events of one plan."""
        return self.plan_id is not None and not self.tree and not self.types


def type_name(event_type: Union[str, Type[BaseEvent]]) -> str:
    """The name of a type."""
    if isinstance(event_type, str):
        return event_type
    if EVENT_CLASSES.get(event_type.__name__) is not event_type:
        raise ValueError(f"{event_type.__name__} is no single type of event; give the name of the type")
    return event_type.__name__
