"""JSON objects with known members: dataclasses that keep what they do not know."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Dict, FrozenSet, Mapping, Optional, Tuple, Type, TypeVar

Json = Dict[str, Any]
ShapeType = TypeVar("ShapeType", bound="Shape")


class ShapeError(ValueError):
    """A JSON value is not of the shape that was expected."""


def of(shape: Type[Shape]) -> Mapping[str, Any]:
    """Field metadata: the member is an object of this shape."""
    return {"shape": shape}


def list_of(shape: Type[Shape]) -> Mapping[str, Any]:
    """Field metadata: the member is a list of objects of this shape."""
    return {"shape": shape, "many": True}


@dataclass
class Shape:
    """A JSON object. ``extra`` holds the members that this version of the library does not know; they are sent too."""

    extra: Json = field(default_factory=dict, init=False)
    _given: FrozenSet[str] = field(default=frozenset(), init=False, repr=False, compare=False)
    """Members that stood in the JSON it was read from: those are written again, also where they say the default."""

    _aside: ClassVar[FrozenSet[str]] = frozenset({"extra", "_given"})
    """Fields that are no members."""

    @classmethod
    def members(cls) -> Tuple[dataclasses.Field[Any], ...]:
        """The fields that are members of the JSON object."""
        found: Optional[Tuple[dataclasses.Field[Any], ...]] = cls.__dict__.get("_members")
        if found is None:
            found = tuple(each for each in dataclasses.fields(cls) if each.name not in cls._aside)
            setattr(cls, "_members", found)
        return found

    @classmethod
    def from_json(cls: Type[ShapeType], value: Any) -> ShapeType:
        """Reads an object. Raises :class:`ShapeError`."""
        return read(cls, value)

    def to_json(self) -> Json:
        """The JSON object: what is required, what is not the default, what was given, and ``extra``."""
        out: Json = {}
        for member in self.members():
            value = getattr(self, member.name)
            if member.name in self._given or not _is_default(member, value):
                out[member.name] = _written(value)
        out.update(self.extra)
        return out


def read(shape: Type[ShapeType], value: Any, **more: Any) -> ShapeType:
    """Reads an object; ``more`` are fields that are no members. Raises :class:`ShapeError`."""
    if not isinstance(value, dict):
        raise ShapeError(f"{shape.__name__} must be an object")
    known = {each.name: _read(each, value[each.name]) for each in shape.members() if each.name in value}
    try:
        made = shape(**more, **known)
    except TypeError as error:
        raise ShapeError(f"{shape.__name__}: {error}") from None
    made.extra = {name: each for name, each in value.items() if name not in known}
    made._given = frozenset(known)
    return made


def _read(member: dataclasses.Field[Any], value: Any) -> Any:
    shape = member.metadata.get("shape")
    if shape is None or value is None:
        return value
    if "many" not in member.metadata:
        return shape.from_json(value)
    if not isinstance(value, list):
        raise ShapeError(f"{member.name} must be a list")
    return [shape.from_json(each) for each in value]


def _written(value: Any) -> Any:
    if isinstance(value, Shape):
        return value.to_json()
    if isinstance(value, list):
        return [_written(each) for each in value]
    return value


def _is_default(member: dataclasses.Field[Any], value: Any) -> bool:
    if member.default is not dataclasses.MISSING:
        return type(value) is type(member.default) and bool(value == member.default)
    if member.default_factory is not dataclasses.MISSING:
        return bool(value == member.default_factory())
    return False
