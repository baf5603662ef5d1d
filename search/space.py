"""The search space: Optuna's parameters, and the exact counts of connections that they stand for."""

from collections.abc import Mapping, Sequence

from optuna.distributions import FloatDistribution

from models.networks.shapes import LayerShape
from search.capacity import budget_weights, kept_weights, prunable, with_kept
from search.projection import project
from search.sc_sdc_setting import ScSdc
from search.spec import AnySpace, Budget, Dictated, Free, JobSpec

REFERENCE_WINDOW = 2.0
"""e-folds around ERK from which the random networks of a confirmation are drawn where the space has no window."""


def name_of(space: AnySpace, layer: LayerShape) -> str:
    return f"{'ratio' if isinstance(space, Budget) else 'density'}_{layer.name}"


def distributions(spec: JobSpec, layers: Sequence[LayerShape]) -> dict[str, FloatDistribution]:
    """One parameter for each prunable layer: its density, or in a budget its log-ratio to ERK (e-folds).

    None where the topology dictates the counts.
    """
    space = spec.search.space
    match space:
        case Free():
            distribution = FloatDistribution(space.low, space.high, log=space.scale == "log")
        case Budget():
            distribution = FloatDistribution(-space.window, space.window)
        case Dictated() | ScSdc():
            return {}
    return {name_of(space, layer): distribution for layer in prunable(spec.network, layers)}


def counts(spec: JobSpec, layers: Sequence[LayerShape], params: Mapping[str, float]) -> tuple[int, ...]:
    """How many connections each layer gets, layers kept dense included. In a budget they sum to it exactly.

    Where the topology dictates them, they are the problem's, and nothing is left to say here.
    """
    space = spec.search.space
    searched = prunable(spec.network, layers)
    match space:
        case Free():
            values = [params[name_of(space, layer)] for layer in searched]
            found = tuple(max(1, round(density * layer.total)) for density, layer in zip(values, searched, strict=True))
        case Budget():
            values = [params[name_of(space, layer)] for layer in searched]
            total = budget_weights(space, layers) - kept_weights(spec.network, layers)
            found = project(searched, values, total, floors(space, searched))
        case Dictated():
            raise AssertionError("counts that the topology dictates are Problem.dictated")
        case ScSdc():
            raise TypeError("the networks of sc_sdc are given, not searched")
    return with_kept(spec.network, layers, found)


def floors(space: AnySpace, layers: Sequence[LayerShape]) -> list[int]:
    """The least connections of each layer: one per output unit under a budget, one in a free space."""
    return [layer.outputs if isinstance(space, Budget) else 1 for layer in layers]


def window(space: AnySpace) -> float:
    return space.window if isinstance(space, Budget) else REFERENCE_WINDOW
