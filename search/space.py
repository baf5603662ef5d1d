"""The search space: Optuna's parameters, and the exact counts of connections that they stand for."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution

from models.networks.shapes import LayerShape
from search import regimes, shape
from search.capacity import budget_weights, kept_weights, prunable, with_kept
from search.projection import project
from search.sc_sdc_setting import ScSdc
from search.spec import AnySpace, Budget, Dictated, Free, JobSpec

REFERENCE_WINDOW = 2.0
"""e-folds around ERK from which the random networks of a confirmation are drawn where the space has no window."""

RESIDUAL_WINDOW = 1.0
"""e-folds around the best point of the first step, in the second."""


def name_of(space: AnySpace, layer: LayerShape) -> str:
    return f"{'ratio' if isinstance(space, Budget) else 'density'}_{layer.name}"


def distributions(spec: JobSpec, layers: Sequence[LayerShape]) -> dict[str, BaseDistribution]:
    """One parameter for each prunable layer: its density, or in a budget its log-ratio to ERK (e-folds), or none where
    the topology dictates the counts; then the choices beside densities, by their paths."""
    space = spec.search.space
    match space:
        case Free():
            distribution = FloatDistribution(space.low, space.high, log=space.scale == "log")
        case Budget():
            distribution = FloatDistribution(-space.window, space.window)
        case Dictated() | ScSdc():
            return regimes.distributions(spec)
    densities = {name_of(space, layer): distribution for layer in prunable(spec.network, layers)}
    return densities | regimes.distributions(spec)


def shape_distributions(spec: JobSpec, searched: Sequence[LayerShape]) -> dict[str, BaseDistribution]:
    """The first of two steps: two numbers, and the choices beside densities."""
    return {**shape.distributions(searched), **regimes.distributions(spec)}


def residual_distributions(spec: JobSpec, layers: Sequence[LayerShape]) -> dict[str, BaseDistribution]:
    """The second of two steps: one log-ratio per layer to the best point of the first, and the choices."""
    distribution = FloatDistribution(-RESIDUAL_WINDOW, RESIDUAL_WINDOW)
    residuals = {_residual(layer): distribution for layer in prunable(spec.network, layers)}
    return {**residuals, **regimes.distributions(spec)}


def distributions_of(
    spec: JobSpec, layers: Sequence[LayerShape], params: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """Of these parameters of a start: a point of the first of two steps, or one ratio or density per layer."""
    known = distributions(spec, layers) | shape_distributions(spec, prunable(spec.network, layers))
    return {name: known[name] for name in params}


def ratios(
    spec: JobSpec, layers: Sequence[LayerShape], params: Mapping[str, Any], centre: Sequence[float] | None
) -> list[float]:
    """The point of a budget as log-ratios to ERK, of each prunable layer.

    params  of any step: which one their names tell
    centre  what residuals are relative to, as log-ratios to ERK
    """
    space = spec.search.space
    searched = prunable(spec.network, layers)
    assert isinstance(space, Budget)
    if shape.POWER in params:
        total = budget_weights(space, layers) - kept_weights(spec.network, layers)
        return shape.ratios(searched, total, params)
    if _residual(searched[0]) in params:
        assert centre is not None, "residuals are relative to a point of the first step"
        return [origin + params[_residual(layer)] for origin, layer in zip(centre, searched, strict=True)]
    return [params[name_of(space, layer)] for layer in searched]


def counts(
    spec: JobSpec, layers: Sequence[LayerShape], params: Mapping[str, Any], centre: Sequence[float] | None = None
) -> tuple[int, ...]:
    """How many connections each layer gets, layers kept dense included. In a budget they sum to it exactly.

    Layers of residual blocks that this point switches off are left out; a budget is all of the others'.

    centre  of a point of the second of two steps, else None

    Where the topology dictates them, they are the problem's, and nothing is left to say here.
    """
    space = spec.search.space
    there = regimes.layers_of(spec, layers, regimes.regime_of(spec, params))
    searched = prunable(spec.network, there)
    match space:
        case Free():
            values = [params[name_of(space, layer)] for layer in searched]
            found = tuple(max(1, round(density * layer.total)) for density, layer in zip(values, searched, strict=True))
        case Budget():
            total = budget_weights(space, layers) - kept_weights(spec.network, there)
            pairs = zip(prunable(spec.network, layers), ratios(spec, layers, params, centre), strict=True)
            own = [ratio for layer, ratio in pairs if layer in searched]
            found = project(searched, own, total, floors(space, searched))
        case Dictated():
            raise AssertionError("counts that the topology dictates are Problem.dictated")
        case ScSdc():
            raise TypeError("the networks of sc_sdc are given, not searched")
    return with_kept(spec.network, there, found)


def floors(space: AnySpace, layers: Sequence[LayerShape]) -> list[int]:
    """The least connections of each layer: one per output unit under a budget, one in a free space."""
    return [layer.outputs if isinstance(space, Budget) else 1 for layer in layers]


def _residual(layer: LayerShape) -> str:
    return f"residual_{layer.name}"


def window(space: AnySpace) -> float:
    return space.window if isinstance(space, Budget) else REFERENCE_WINDOW
