"""Reads a job from a file. Knows JSON, not what a job is: the server (or `search.spec`) judges the rest."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class InvalidFile(Exception):
    """The file holds no job: `errors` names each field at fault, where the fault lies in a field."""

    def __init__(self, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or []


def read(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises: InvalidFile, with line and column where the JSON is broken."""
    value = _parse(path, _text(path))
    if not isinstance(value, dict):
        raise InvalidFile(f"{path}: a job is a JSON object {{...}}, not {_shown(value)}")
    # Python reads NaN and Infinity, which are not JSON and no server accepts.
    if errors := [_not_finite(field, number) for field, number in _numbers(value) if not math.isfinite(number)]:
        raise InvalidFile(f"{path}: numbers must be finite", errors)
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError as error:
        raise InvalidFile(f"{path}: is not a text file in UTF-8 (byte {error.start})") from None


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise InvalidFile(f"{path}: not valid JSON at {at}: {error.msg[0].lower()}{error.msg[1:]}") from None
    except RecursionError:
        raise InvalidFile(f"{path}: nested too deeply for a job") from None
    except _Repeated as error:
        raise InvalidFile(f"{path}: the field {error.args[0]!r} is given twice in one object") from None


class _Repeated(Exception):
    """One object names a field twice: readers of JSON disagree on which value holds."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise _Repeated(name)
        result[name] = value
    return result


def _numbers(value: Any, field: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield field, value
    children = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from _numbers(child, f"{field}.{name}" if field else str(name))


def _not_finite(field: str, number: float) -> dict[str, Any]:
    return {"field": field, "value": str(number), "message": f"{number} is not allowed; it must be a finite number"}


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
