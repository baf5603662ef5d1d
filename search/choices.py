"""What a search may vary beside densities: settings of the job by their path, each with a list of values or a range."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetPydanticSchema, PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

ROOTS = ("topology", "rewiring", "network", "training")
"""The parts of a job that may vary."""

Regime = tuple[tuple[str, str], ...]
"""The settings of one trial: path and JSON text of the value, the shorter paths first."""


@dataclass(frozen=True)
class OneOf:
    """values: as JSON text, which can be hashed and compared whatever it holds."""

    values: tuple[str, ...]

    def to_json(self) -> Any:
        return [json.loads(value) for value in self.values]


@dataclass(frozen=True)
class Range:
    """Real numbers from low to high, drawn evenly or on a logarithmic scale."""

    low: float
    high: float
    scale: Literal["log", "linear"] = "linear"

    @property
    def middle(self) -> float:
        return math.sqrt(self.low * self.high) if self.scale == "log" else (self.low + self.high) / 2

    def to_json(self) -> Any:
        return asdict(self)


Choice = OneOf | Range


@dataclass(frozen=True)
class Choices:
    """By path, the shorter paths first: `training.optimizer.lr` is set in the `training.optimizer` that was chosen."""

    items: tuple[tuple[str, Choice], ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Choice]) -> "Choices":
        """Raises: ValueError for a path outside of what may vary."""
        for path in given:
            if path.split(".")[0] not in ROOTS:
                raise ValueError(f"{path!r} is not allowed; a path begins with one of {', '.join(ROOTS)}")
        return cls(tuple(sorted(given.items(), key=lambda item: (item[0].count("."), item[0]))))

    def __iter__(self) -> Iterator[tuple[str, Choice]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def to_json(self) -> dict[str, Any]:
        return {path: choice.to_json() for path, choice in self.items}


def choice(value: Any) -> Choice:
    """A list of at least two different values, or {low, high, scale}. Raises: ValueError."""
    match value:
        case list() | tuple():
            return _one_of([json.dumps(each, allow_nan=False, sort_keys=True) for each in value])
        case Mapping():
            return _range(value)
    raise ValueError(f"{value!r} is not allowed; it must be a list of values or {{low, high, scale}}")


def _one_of(values: list[str]) -> OneOf:
    if len(values) < 2:
        raise ValueError(f"{len(values)} values are no choice; at least 2 are needed")
    if len(set(values)) < len(values):
        raise ValueError(f"[{', '.join(values)}] names a value twice")
    return OneOf(tuple(values))


def _range(value: Mapping[str, Any]) -> Range:
    unknown = [name for name in value if name not in ("low", "high", "scale")]
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown field; allowed here: low, high, scale")
    for name in ("low", "high"):
        number = value.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"{name}: {number!r} is not allowed; it must be a finite number")
    found = Range(float(value["low"]), float(value["high"]), value.get("scale", "linear"))
    if found.scale not in ("log", "linear"):
        raise ValueError(f"scale: {found.scale!r} is not allowed; it must be log or linear")
    if found.low >= found.high:
        raise ValueError(f"low: {found.low} is not allowed; it must be less than high ({found.high})")
    if found.scale == "log" and found.low <= 0:
        raise ValueError(f"low: {found.low} is not allowed; it must be greater than 0 on a log scale")
    return found


_NUMBER = {"type": "number"}
_SCHEMA = {
    "anyOf": [
        {"type": "array", "minItems": 2, "items": {}},
        {
            "type": "object",
            "properties": {"low": _NUMBER, "high": _NUMBER, "scale": {"enum": ["log", "linear"], "default": "linear"}},
            "required": ["low", "high"],
            "additionalProperties": False,
        },
    ]
}
_Given = Annotated[
    OneOf | Range,
    PlainValidator(choice),
    PlainSerializer(lambda each: each.to_json()),
    WithJsonSchema(_SCHEMA),
]


def _schema(_: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    # In JSON an object; as a value of the program something that can be hashed, as every setting can.
    given = handler(dict[str, _Given])
    written = core_schema.plain_serializer_function_ser_schema(Choices.to_json)
    return core_schema.no_info_after_validator_function(Choices.of, given, serialization=written)


AnyChoices = Annotated[Choices, GetPydanticSchema(_schema)]
