"""What is wrong with a job, in words a user can act on: the field, its value, what is allowed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import ValidationError

from models.types import kind_of, members


class InvalidSpec(ValueError):
    """The job cannot be accepted: each fault names its field, its value and what is allowed."""

    def __init__(self, faults: Sequence[Mapping[str, Any]]) -> None:
        self.faults = [dict(fault) for fault in faults]
        super().__init__("; ".join(f"{fault['field']}: {fault['message']}" for fault in self.faults))


def fault(field: str, value: Any, message: str) -> InvalidSpec:
    """One fault that only the shapes or the data could show."""
    return InvalidSpec([{"field": field, "value": value, "message": message}])


def faults(error: ValidationError, value: Any, root: type) -> list[dict[str, Any]]:
    """pydantic's errors for the JSON `value`, one per field."""
    merged: dict[str, dict[str, Any]] = {}
    for each in error.errors(include_url=False):
        path = _path(each["loc"], value, missing=each["type"] == "missing")
        if each["type"] == "union_tag_not_found" or each["type"] == "union_tag_invalid":
            path = [*path, "kind"]
        field = ".".join(map(str, path)) or "(the job)"
        message = _message(each, path, value, root)
        if field in merged:
            merged[field]["message"] += f"; or: {message}"
        else:
            merged[field] = {"field": field, "value": _at(value, path), "message": message}
    return list(merged.values())


def _path(location: Sequence[Any], value: Any, missing: bool) -> list[Any]:
    # pydantic puts the tag of a union into the path; the user's JSON has no such level.
    path: list[Any] = []
    for number, part in enumerate(location):
        last = number == len(location) - 1
        if _holds(value, part):
            value = value[part]
            path.append(part)
        elif last and missing:
            path.append(part)
    return path


def _message(error: Any, path: Sequence[Any], value: Any, root: type) -> str:
    shown = _at(value, path)
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "this field is required"
        case "unexpected_keyword_argument":
            return f"unknown field; allowed here: {', '.join(_allowed(root, value, path[:-1]))}"
        case "union_tag_invalid":
            return f"{context['tag']!r} is not allowed; it must be one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "this field is required"
        case "value_error":
            return str(context["error"])
    words = error["msg"][0].lower() + error["msg"][1:]
    return words if isinstance(shown, Mapping | list | tuple) else f"{shown!r} is not allowed; {words}"


def _allowed(root: type, value: Any, path: Sequence[Any]) -> list[str]:
    here: Any = root
    for part in path:
        value = value[part]
        within = get_args(here)[0] if isinstance(part, int) else get_type_hints(here, include_extras=True)[part]
        here = _meant(within, value)
    hints = get_type_hints(here, include_extras=True)
    return [_alias(hints[field.name]) or field.name for field in dataclasses.fields(here)]


def _meant(hint: Any, value: Any) -> Any:
    """The setting of the hint's family that the value is, or the list that it is, its bounds apart."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) is tuple:
        return bare
    kinds = [each for each in members(hint) if dataclasses.is_dataclass(each)]
    return next((each for each in kinds if len(kinds) == 1 or kind_of(each) == value.get("kind")), kinds[0])


def _alias(hint: Any) -> str | None:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((extra.alias for extra in extras if getattr(extra, "alias", None)), None)


def _at(value: Any, path: Sequence[Any]) -> Any:
    for part in path:
        if not _holds(value, part):
            return None
        value = value[part]
    return value


def _holds(value: Any, part: Any) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)
