"""Settings to plain JSON values and back, for what is kept in files; a user's JSON goes through the job spec."""

import dataclasses
from typing import Any, get_type_hints

from models.types import kind_of, members


def to_plain(setting: Any) -> dict[str, Any]:
    """The fields of a dataclass, settings inside it included, as JSON can hold them."""
    return dataclasses.asdict(setting)


def from_plain(kind: Any, value: Any) -> Any:
    """The inverse of `to_plain`.

    kind  a dataclass, or a union of settings told apart by `kind`; anything else leaves plain values as they are
    Raises: ValueError, KeyError or TypeError, if `value` is no such setting
    """
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(from_plain(object, each) for each in value)
    choices = [member for member in members(kind) if dataclasses.is_dataclass(member)]
    if not choices:
        return value
    chosen = choices[0] if len(choices) == 1 else {kind_of(each): each for each in choices}[value["kind"]]
    hints = get_type_hints(chosen, include_extras=True)
    return chosen(**{name: from_plain(hints[name], field) for name, field in value.items()})
