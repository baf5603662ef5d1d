"""From a job with choices to the jobs it varies over: one regime is one value for each choice."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from models.networks.shapes import LayerShape
from search import blocks
from search.choices import Choices, OneOf, Range, Regime
from search.faults import InvalidSpec, fault
from search.spec import JobSpec, dump, parse

MOST = 2000
"""Combinations of values: each is tried when a job is submitted."""


@lru_cache(maxsize=256)
def applied(spec: JobSpec, regime: Regime) -> JobSpec:
    """The job with these settings in place of its own, and no choices left. Raises: InvalidSpec."""
    if not regime:
        return spec
    value = _without_choices(spec)
    for path, text in regime:
        if path.startswith(blocks.PATH):
            value["network"]["blocks"] = blocks.switched(value["network"], path, json.loads(text))
            continue
        *way, last = path.split(".")
        here: Any = value
        for part in way:
            here = here.get(part) if isinstance(here, dict) else None
        if not isinstance(here, dict):
            raise fault(path, json.loads(text), f"there is no {'.'.join(way)} to set {last} in")
        here[last] = json.loads(text)
    return parse(value)


def layers_of(spec: JobSpec, layers: Sequence[LayerShape], regime: Regime) -> tuple[LayerShape, ...]:
    """Of the layers of the job's own network those that are there with these settings."""
    return blocks.present(applied(spec, regime).network, layers)


def distributions(spec: JobSpec) -> dict[str, BaseDistribution]:
    """Optuna's parameters of the choices, named by their paths; values that are no numbers by their JSON text."""
    return {
        path: CategoricalDistribution(choice.values)
        if isinstance(choice, OneOf)
        else FloatDistribution(choice.low, choice.high, log=choice.scale == "log")
        for path, choice in spec.search.choices
    }


def regime_of(spec: JobSpec, params: Mapping[str, Any]) -> Regime:
    """The settings that Optuna's parameters stand for."""
    return tuple(
        (path, params[path] if isinstance(choice, OneOf) else json.dumps(params[path]))
        for path, choice in spec.search.choices
    )


def own_params(spec: JobSpec) -> dict[str, Any]:
    """The job's own settings as Optuna's parameters: the first value, or the middle, where its own is not a choice."""
    value = dump(spec)
    params: dict[str, Any] = {}
    for path, choice in spec.search.choices:
        match choice:
            case OneOf(values):
                params[path] = next((text for text in values if _is_own(spec, path, text)), values[0])
            case _:
                own = _at(value, path)
                inside = isinstance(own, int | float) and choice.low <= own <= choice.high
                params[path] = float(own) if inside else choice.middle
    return params


def settings(regime: Regime) -> dict[str, Any]:
    """As the report shows them."""
    return {path: json.loads(text) for path, text in regime}


def check(spec: JobSpec, examine: Callable[[JobSpec], None]) -> None:
    """Tries every combination of values, a range by its ends and its middle.

    examine  what the job itself has to pass, once its data is known; raises InvalidSpec

    Raises: InvalidSpec, naming the choice and its value
    """
    if not spec.search.choices:
        return
    tried = [choice.values if isinstance(choice, OneOf) else _ends(choice) for _, choice in spec.search.choices]
    number = math.prod(map(len, tried))
    if number > MOST:
        given = spec.search.choices.to_json()
        message = f"{number} combinations of values are too many; at most {MOST} can be tried"
        raise fault("search.choices", given, message)
    paths = [path for path, _ in spec.search.choices]
    for values in itertools.product(*tried):
        regime = tuple(zip(paths, values, strict=True))
        try:
            varied = applied(spec, regime)
            _refuse_other_networks(spec, varied)
            examine(varied)
        except InvalidSpec as error:
            raise InvalidSpec(list(_renamed(error, regime))) from None


def _ends(choice: Range) -> tuple[str, ...]:
    # A range takes in what is no whole number: where only those are allowed, the setting itself then refuses it.
    share = 1 / math.pi
    if choice.scale == "log":
        uneven = choice.low * (choice.high / choice.low) ** share
    else:
        uneven = choice.low + (choice.high - choice.low) * share
    return tuple(json.dumps(number) for number in (choice.low, uneven, choice.middle, choice.high))


def _refuse_other_networks(spec: JobSpec, varied: JobSpec) -> None:
    if varied.training.epochs != spec.training.epochs:
        epochs = varied.training.epochs
        raise fault("training.epochs", epochs, "cannot vary: trials are compared epoch by epoch")
    if varied.training.loss != spec.training.loss:
        raise fault("training.loss", varied.training.loss, "cannot vary: trials are compared by it")
    if varied.network.keep_dense != spec.network.keep_dense:
        kept = list(varied.network.keep_dense)
        raise fault("network.keep_dense", kept, "cannot vary: every trial has a density for the same layers")


def _renamed(error: InvalidSpec, regime: Regime) -> Iterator[dict[str, Any]]:
    """The faults of a varied job, in terms of the choice that made them."""
    for each in error.faults:
        field = str(each["field"])
        meant = [item for item in regime if _overlap(item[0], field)] or list(regime)
        path, text = max(meant, key=lambda item: len(item[0]))
        about = "" if field == path else f"{field}: "
        yield {"field": f"search.choices.{path}", "value": json.loads(text), "message": f"{about}{each['message']}"}


def _overlap(path: str, field: str) -> bool:
    return f"{field}.".startswith(f"{path}.") or f"{path}.".startswith(f"{field}.")


def _is_own(spec: JobSpec, path: str, text: str) -> bool:
    # Compared as whole jobs: a value may leave out what the job's own says, or the other way round.
    try:
        return dump(applied(spec, ((path, text),))) == _without_choices(spec)
    except InvalidSpec:  # what is a setting only together with another choice is not the job's own
        return False


def _without_choices(spec: JobSpec) -> dict[str, Any]:
    return dump(replace(spec, search=replace(spec.search, choices=Choices())))


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
