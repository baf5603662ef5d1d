"""The vocabulary: bounded numbers, and what a setting is."""

import dataclasses
import math
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

Share = Annotated[float, Interval(ge=0, le=1)]
Density = Annotated[float, Interval(gt=0, le=1)]
Positive = Annotated[float, Interval(gt=0)]
NonNegative = Annotated[float, Interval(ge=0)]
Momentum = Annotated[float, Interval(ge=0, lt=1)]
Count = Annotated[int, Interval(ge=1, le=2**31 - 1)]

StorageKind = Literal["masked", "compressed"]
"""How a sparse layer keeps its weights: all of them and a mask, or the active ones alone."""

Storage = Literal["auto", "masked", "compressed"]
"""What a user may ask for. `auto` chooses by device, shape and density."""

T = TypeVar("T")


class ByKind:
    """Marks a union of settings told apart by their field `kind`: the union is the registry of its family."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        # pydantic's hook, met without importing it: a tagged union, so that an error names the one member meant.
        choices = {kind_of(member): handler.generate_schema(member) for member in members(source)}
        return {"type": "tagged-union", "discriminator": "kind", "choices": choices}


def members(union: Any) -> tuple[type, ...]:
    """The settings of a family, in the order of its union."""
    bare = get_args(union)[0] if get_origin(union) is Annotated else union
    return get_args(bare) or (bare,)


def kind_of(member: type) -> str:
    return str(get_args(get_type_hints(member)["kind"])[0])


@dataclass_transform(frozen_default=True, kw_only_default=False)
def setting(cls: type[T]) -> type[T]:
    """A frozen dataclass whose fields are the JSON: what a user may choose.

    The bounds written in its annotations hold for JSON (pydantic reads the same annotations) and for Python callers.

    Raises: ValueError, naming the field, the value and what is allowed.
    """
    # pydantic reads this attribute; naming it here keeps pydantic out of this package.
    cls.__pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}  # type: ignore[attr-defined]
    further = cls.__dict__.get("__post_init__")

    def checked(self: Any) -> None:
        _check(self)
        if further is not None:
            further(self)

    cls.__post_init__ = checked  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True)(cls)


def _check(value: Any) -> None:
    hints = get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):
        for bound in _bounds(hints[field.name]):
            _check_bound(f"{type(value).__name__}.{field.name}", getattr(value, field.name), bound)


def _bounds(hint: Any) -> list[Any]:
    if get_origin(hint) is Annotated:
        return [part for meta in get_args(hint)[1:] for part in (meta if isinstance(meta, Interval) else [meta])]
    if type(None) in get_args(hint):
        return [bound for part in get_args(hint) for bound in _bounds(part)]
    return []


def _check_bound(name: str, value: Any, bound: Any) -> None:
    if not isinstance(value, int | float):
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}: {value} is not allowed; it must be a finite number")
    allowed = {
        Gt: lambda b: (value > b.gt, f"> {b.gt}"),
        Ge: lambda b: (value >= b.ge, f">= {b.ge}"),
        Lt: lambda b: (value < b.lt, f"< {b.lt}"),
        Le: lambda b: (value <= b.le, f"<= {b.le}"),
    }
    if type(bound) in allowed:
        holds, words = allowed[type(bound)](bound)
        if not holds:
            raise ValueError(f"{name}: {value} is not allowed; it must be {words}")
