"""Publishes runs of LangGraph graphs as plans.

``graph.invoke(inputs, {"callbacks": [PlanwireCallbackHandler("http://127.0.0.1:7420")]})`` is all there is to do. A
graph becomes a plan, a subgraph a subplan; nodes, tools and models become calls, interrupts become questions. Needs
``pip install planwire[langgraph]``; nothing else of this library does.

From the bottom up: ``plain`` makes JSON of anything; ``tree`` knows what is open in a run and which events follow;
``questions``, ``failures``, ``model`` and ``routers`` say what LangGraph's things mean; ``restore`` finds an interrupted plan in the
log; ``outbox`` publishes in order; ``runs`` tells graphs from nodes; ``patience`` waits; ``handler`` is called.
"""

try:
    import langgraph.callbacks
except ImportError as error:
    raise ImportError(
        "planwire.langgraph needs langgraph 1.2 or later: pip install 'planwire[langgraph]'", name=error.name
    ) from error

from .handler import PlanwireCallbackHandler
from .outbox import LostError, Outcome

__all__ = ["LostError", "Outcome", "PlanwireCallbackHandler"]
