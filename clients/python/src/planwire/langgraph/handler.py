"""The callback handler that LangGraph is given."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Callable, Dict, List, Optional, Sequence, Type, Union
from uuid import UUID

from langgraph.callbacks import GraphCallbackHandler, GraphInterruptEvent, GraphResumeEvent

from ..bus import URL, EventBus
from ..events import Failure
from ..retry import Retry
from .model import model_name, model_output
from .outbox import Outbox, Outcome
from .patience import Callback, Patience, Steps, Wait
from .plain import PAYLOAD_VALUE_BYTES_MAX, VALUE_BYTES_MAX, Plain, plain, text_of
from .routers import Routers
from .runs import UNNAMED, Receipt, Runs, Started

MODEL, RETRIEVER = "model:", "retriever:"
"""How the tools begin that stand for calls of models and retrievers; their names follow."""

WAIT_S = 2.0
"""How long a run waits, at most, until what it is about to do is on disk."""

ASK_S = 2.0
"""How long a run waits, even if it does not wait for its events, for the plan that it goes on with."""

MESSAGE_CHARS_MAX = 2_000
"""Characters of what a tool says has gone wrong."""


class PlanwireCallbackHandler(GraphCallbackHandler):
    """Publishes runs of graphs as plans: ``graph.invoke(inputs, {"callbacks": [PlanwireCallbackHandler(bus)]})``.

    ``bus`` is an :class:`EventBus` or an address. One handler may be shared by any number of runs, in threads and in
    event loops; a handler for each run does as well.

    A run waits before each node, tool, model and subgraph until that is on disk, at most ``wait_s`` seconds, and after
    its end. With ``on_error="log"`` it then goes on and the events follow when the server is back; with ``"raise"`` it
    fails instead: :class:`OutcomeUnknownError`, :class:`LostError`. ``wait_s=0`` never waits.

    With ``graph``, the compiled graph, what its conditional edges choose is told as decisions.

    ``redact`` is called with each value as JSON before it is published, and gives what is published instead. A value
    has at most ``value_bytes_max`` bytes; a longer one is cut, and its event says ``"truncated": true``. ``principal``
    is who is said to have resumed a graph.
    """

    run_inline = True

    def __init__(
        self,
        bus: Union[EventBus, str] = URL,
        *,
        wait_s: float = WAIT_S,
        on_error: str = "log",
        graph: Any = None,
        redact: Optional[Callable[[Any], Any]] = None,
        value_bytes_max: int = VALUE_BYTES_MAX,
        principal: str = "langgraph",
    ) -> None:
        if on_error not in ("log", "raise"):
            raise ValueError(f"on_error is 'log' or 'raise', not {on_error!r}")
        if not 0 < value_bytes_max <= PAYLOAD_VALUE_BYTES_MAX:
            raise ValueError(f"value_bytes_max is at most {PAYLOAD_VALUE_BYTES_MAX}")
        super().__init__()
        self.raise_error = on_error == "raise"
        # Ours tries again for ever; a short deadline only lets it notice, and say, that the server is away.
        self._outbox = Outbox(EventBus(bus, retry=Retry(deadline_s=WAIT_S)) if isinstance(bus, str) else bus)
        self._redact = redact
        self._value_bytes_max = value_bytes_max
        self._runs = Runs(self._outbox, self._plain, principal, Routers(graph))
        self.patience = Patience(self._outbox, wait_s, self.raise_error)

    @property
    def outcome(self) -> Outcome:
        """How many events are on disk, how many wait for the server, and how many are lost."""
        return self._outbox.outcome

    def flush(self, timeout_s: Optional[float] = None) -> bool:
        """Waits until all that happened so far is on disk, or lost; whether that is so."""
        return self._outbox.flush(timeout_s)

    def close(self, timeout_s: Optional[float] = None) -> bool:
        """Waits as ``flush`` does, and publishes nothing more. The end of the process does this, for some seconds."""
        return self._outbox.close(timeout_s)

    def __enter__(self) -> PlanwireCallbackHandler:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def abandon(self, run_id: Any, error: BaseException) -> None:
        """A run will not start, since its callback was cancelled or raised: nobody will say how it ended."""
        if isinstance(run_id, UUID):
            self._runs.failed(run_id, error)

    def _plain(self, value: Any) -> Plain:
        made = plain(value, self._value_bytes_max)
        if self._redact is None:
            return made
        try:
            redacted = plain(self._redact(made.value), self._value_bytes_max)
        except Exception as error:
            # Better no value than one that should not be seen.
            return plain(f"(redact failed: {type(error).__name__})")
        return Plain(redacted.value, redacted.size_bytes, made.truncated or redacted.truncated)

    def _chain_start(
        self,
        serialized: Optional[Dict[str, Any]],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: Optional[UUID] = None,
        tags: Optional[List[str]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        name: Optional[str] = None,
        **_: Any,
    ) -> Steps:
        started = Started(run_id, parent_run_id, name or UNNAMED, inputs, metadata or {}, tags or ())
        question = self._runs.question(started)
        found = (yield Wait(self._outbox.ask(question), ASK_S)) if question is not None else None
        yield from _waited(self._runs.chain(started, found))

    def _chain_end(self, outputs: Any, *, run_id: UUID, parent_run_id: Optional[UUID] = None, **_: Any) -> Steps:
        receipt = self._runs.ended(run_id, outputs)
        if parent_run_id is None:
            # When a graph has given its result, its whole plan is on disk.
            yield from _waited(receipt)

    def _failed(self, error: BaseException, *, run_id: UUID, parent_run_id: Optional[UUID] = None, **_: Any) -> Steps:
        receipt = self._runs.failed(run_id, error)
        if parent_run_id is None and not self.raise_error:
            yield from _waited(receipt)

    def _tool_start(
        self,
        serialized: Optional[Dict[str, Any]],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: Optional[UUID] = None,
        tags: Optional[List[str]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        inputs: Optional[Dict[str, Any]] = None,
        tool_call_id: Optional[str] = None,
        name: Optional[str] = None,
        **_: Any,
    ) -> Steps:
        tool = str((serialized or {}).get("name") or name or "tool")
        arguments: Any = inputs if inputs is not None else input_str
        started = Started(run_id, parent_run_id, tool, arguments, metadata or {}, tags or ())
        yield from _waited(self._runs.called(started, tool, {"tool_call_id": tool_call_id} if tool_call_id else {}))

    def _tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> Steps:
        error = None
        if getattr(output, "type", None) == "tool":
            # The content is what the tool gave; the rest of the message is for the model.
            if getattr(output, "status", None) == "error":
                error = Failure("tool_error", text_of(output.content, MESSAGE_CHARS_MAX))
            output = output.content
        self._runs.ended(run_id, None if error else output, error)
        yield from ()

    def _chat_model_start(self, serialized: Any, messages: Any, **named: Any) -> Steps:
        return self._model_start(serialized, messages, "messages", **named)

    def _llm_start(self, serialized: Any, prompts: Any, **named: Any) -> Steps:
        return self._model_start(serialized, prompts, "prompts", **named)

    def _model_start(
        self,
        serialized: Any,
        asked: Sequence[Any],
        member: str,
        *,
        run_id: UUID,
        parent_run_id: Optional[UUID] = None,
        tags: Optional[List[str]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        **named: Any,
    ) -> Steps:
        tool = MODEL + model_name(serialized, metadata or {}, named)
        # A callback is about one conversation, in a list.
        arguments = {member: asked[0] if len(asked) == 1 else asked}
        started = Started(run_id, parent_run_id, tool, arguments, metadata or {}, tags or ())
        yield from _waited(self._runs.called(started, tool, {}))

    def _model_end(self, response: Any, *, run_id: UUID, **_: Any) -> Steps:
        output, usage = model_output(response)
        self._runs.ended(run_id, output, usage=usage)
        yield from ()

    def _retriever_start(
        self,
        serialized: Optional[Dict[str, Any]],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: Optional[UUID] = None,
        tags: Optional[List[str]] = None,
        metadata: Optional[Dict[str, Any]] = None,
        name: Optional[str] = None,
        **_: Any,
    ) -> Steps:
        tool = RETRIEVER + str(name or (serialized or {}).get("name") or "retriever")
        started = Started(run_id, parent_run_id, tool, {"query": query}, metadata or {}, tags or ())
        yield from _waited(self._runs.called(started, tool, {}))

    def _retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> Steps:
        self._runs.ended(run_id, documents)
        yield from ()

    def _interrupt(self, event: GraphInterruptEvent) -> Steps:
        self._runs.stopped(event.run_id, event.status, event.checkpoint_id, bool(event.interrupts))
        yield from ()

    def _resume(self, event: GraphResumeEvent) -> Steps:
        self._runs.resumed(event.run_id, "|".join(event.checkpoint_ns))
        yield from ()

    on_chain_start = Callback(_chain_start)
    on_chain_end = Callback(_chain_end)
    on_chain_error = Callback(_failed)
    on_tool_start = Callback(_tool_start)
    on_tool_end = Callback(_tool_end)
    on_tool_error = Callback(_failed)
    on_chat_model_start = Callback(_chat_model_start)
    on_llm_start = Callback(_llm_start)
    on_llm_end = Callback(_model_end)
    on_llm_error = Callback(_failed)
    on_retriever_start = Callback(_retriever_start)
    on_retriever_end = Callback(_retriever_end)
    on_retriever_error = Callback(_failed)
    on_interrupt = Callback(_interrupt)
    on_resume = Callback(_resume)


def _waited(receipt: Receipt) -> Steps:
    if receipt is not None:
        yield Wait(receipt)
