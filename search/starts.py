"""The first points of a search: networks set by hand, where the space contains them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

from models import allocation
from models.networks.shapes import LayerShape
from search import hand_set
from search.capacity import budget_weights, kept_weights, prunable
from search.gradual_start import NAME
from search.regimes import own_params
from search.sc_sdc_setting import ScSdc
from search.scored_starts import Scored
from search.shape import rule_params
from search.space import counts, floors, name_of
from search.spec import Budget, Dictated, Free, JobSpec

PREFIX = "job "
"""Of the names of starts that are networks of earlier jobs."""

SCAN = 401
"""Global densities at which a free space is scanned for a rule's densities."""


@dataclass(frozen=True)
class Start:
    """name: a rule of hand_set, of a score, `dense` or `gradual`; params: the point of the search space that stands for
    it, the job's own settings where it has choices; None of `gradual` until its pruning run is known, and where the
    space does not contain what that came to."""

    name: str
    params: Mapping[str, Any] | None


def starts(spec: JobSpec, layers: Sequence[LayerShape], found: Scored = ()) -> tuple[Start, ...]:
    """The starts that the space contains, in the order they are tried; of two with the same counts the first.

    None where the topology dictates the counts: all trials are of them. A job that names its starts has those. One of
    these, `gradual`, has its place whatever it comes to, as trials after it are asked for before that is known. Before
    all come the networks of earlier jobs.

    found  counts that come from earlier jobs, from scores of the network's weights, or from the pruning run
    """
    space = spec.search.space
    searched = prunable(spec.network, layers)
    points: Sequence[tuple[str, Sequence[float]]]
    match space:
        case Free():
            points = (*_densities(space, searched, found), *_in_free_space(space, tuple(searched)))
        case Budget():
            total = budget_weights(space, layers) - kept_weights(spec.network, layers)
            points = tuple(_in_budget(space, searched, total, found))
        case Dictated() | ScSdc():
            return ()
    named, own = spec.search.starts, own_params(spec)
    earlier = [point for point in points if point[0].startswith(PREFIX)]
    points = [point for point in points if not point[0].startswith(PREFIX)]
    if named is not None:
        points = sorted((point for point in points if point[0] in named), key=lambda point: named.index(point[0]))
    pruned: Mapping[str, Any] | None = None
    first: dict[tuple[int, ...], Start] = {}
    for name, values in (*earlier, *points):
        params: dict[str, Any] = {name_of(space, layer): value for layer, value in zip(searched, values, strict=True)}
        params |= own
        asked = counts(spec, layers, params)
        if isinstance(space, Budget) and space.steps == "two":
            params = _as_shape(name, spec, layers, asked, own) or params
        if name == NAME:
            pruned = params
        else:
            first.setdefault(asked, Start(name, params))
    if named is None or NAME not in named:
        return tuple(first.values())
    warm = [start for start in first.values() if start.name.startswith(PREFIX)]
    others = [start for start in first.values() if not start.name.startswith(PREFIX)]
    return (*warm, *sorted((*others, Start(NAME, pruned)), key=lambda start: named.index(start.name)))


def _as_shape(
    name: str, spec: JobSpec, layers: Sequence[LayerShape], asked: tuple[int, ...], own: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The rule as a point of a search's first step, if it is one to the last connection. own: settings beside it."""
    shape = rule_params(name)
    params = None if shape is None else {**shape, **own}
    return params if params is not None and counts(spec, layers, params) == asked else None


def _densities(space: Free, layers: Sequence[LayerShape], given: Scored) -> Iterator[tuple[str, Sequence[float]]]:
    for name, wanted in given:
        # Counts are whole numbers: those of a density at a bound of the space may lie just outside of it.
        inside = [
            min(max(count / layer.total, space.low), space.high) for count, layer in zip(wanted, layers, strict=True)
        ]
        if all(max(1, round(share * layer.total)) == n for share, layer, n in zip(inside, layers, wanted, strict=True)):
            yield name, inside


def _in_budget(
    space: Budget, layers: Sequence[LayerShape], total: int, found: Scored
) -> Iterator[tuple[str, Sequence[float]]]:
    origin = allocation.erdos_renyi_kernel(layers, total / sum(layer.total for layer in layers))
    yield "erk", [0.0] * len(layers)
    by_rule = {rule: hand_set.counts(rule, layers, total, floors(space, layers)) for rule in get_args(hand_set.Rule)}
    for name, wanted in (*by_rule.items(), *found):
        if wanted is None or name == "erk" or (name.startswith(PREFIX) and sum(wanted) != total):
            continue  # an earlier job may have had another budget
        ratios = [
            math.log(count / (share * layer.total)) for count, share, layer in zip(wanted, origin, layers, strict=True)
        ]
        if (inside := _inside(ratios, space.window)) is not None:
            yield name, inside


def _inside(ratios: Sequence[float], window: float) -> Sequence[float] | None:
    # A shift common to all layers is undone by the multiplier, so only the span of the ratios has to fit.
    high, low = max(ratios), min(ratios)
    if -window <= low and high <= window:
        return ratios
    if (high - low) / 2 >= window:
        return None
    return [ratio - (high + low) / 2 for ratio in ratios]


@lru_cache(maxsize=8)  # the scan takes a tenth of a second, and every trial asks for it
def _in_free_space(space: Free, layers: tuple[LayerShape, ...]) -> tuple[tuple[str, Sequence[float]], ...]:
    return tuple(_scan(space, layers))


def _scan(space: Free, layers: Sequence[LayerShape]) -> Iterator[tuple[str, Sequence[float]]]:
    for rule in get_args(hand_set.Rule):
        for density in _from_the_middle(space):
            found = hand_set.densities(rule, layers, density)
            if found is not None and all(space.low <= each <= space.high for each in found):
                yield rule, found
                break
    if space.high == 1:
        yield "dense", [1.0] * len(layers)


def _from_the_middle(space: Free) -> list[float]:
    # An odd number of points, so that the middle of the range is one of them; nearest to it first.
    steps = sorted((step / (SCAN - 1) for step in range(1, SCAN - 1)), key=lambda step: abs(step - 0.5))
    if space.scale == "log":
        return [space.low * (space.high / space.low) ** step for step in steps]
    return [space.low + (space.high - space.low) * step for step in steps]
