"""Calls of models as calls of a tool."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

from ..shape import Json

_NAMES = ("model", "model_name", "model_id")
"""Where models keep their name among the parameters of a call."""


def model_name(serialized: Any, metadata: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """The name of a model, from wherever it is said."""
    parameters = named.get("invocation_params")
    for place in (metadata.get("ls_model_name"), *(_member(parameters, each) for each in _NAMES), named.get("name")):
        if isinstance(place, str) and place:
            return place
    path = _member(serialized, "id")
    return str(path[-1]) if isinstance(path, (list, tuple)) and path else "model"


def model_output(response: Any) -> Tuple[Any, Optional[Json]]:
    """What a model said, and the tokens that it used."""
    generations = [each for row in getattr(response, "generations", None) or [] for each in row]
    said = [getattr(each, "message", None) or getattr(each, "text", "") for each in generations]
    usage: Dict[str, Any] = {}
    for message in said:
        _add(usage, getattr(message, "usage_metadata", None))
    if not usage:
        _add(usage, _member(getattr(response, "llm_output", None), "token_usage"))
    return said[0] if len(said) == 1 else said, usage or None


def _add(usage: Dict[str, Any], more: Any) -> None:
    """Adds counts of tokens to others."""
    if not isinstance(more, Mapping):
        return
    for name, count in more.items():
        if isinstance(count, int) and not isinstance(count, bool):
            usage[str(name)] = usage.get(str(name), 0) + count
        elif isinstance(count, Mapping):
            below = usage.setdefault(str(name), {})
            if isinstance(below, dict):
                _add(below, count)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
