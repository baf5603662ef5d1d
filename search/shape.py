"""Densities of a whole network from two numbers: how far Erdős–Rényi-Kernel is taken, and a tilt between layers."""

import math
from collections.abc import Mapping, Sequence

from optuna.distributions import FloatDistribution

from models import allocation
from models.networks.shapes import LayerShape

POWER, TILT = "power", "tilt"


def distributions(layers: Sequence[LayerShape]) -> dict[str, FloatDistribution]:
    """The first step of a search. Ranges: those in which good networks were found, with room on both sides."""
    tilt = FloatDistribution(-0.5, 1.5) if _has_positions(layers) else FloatDistribution(-1.5, 1.5)
    return {POWER: FloatDistribution(-0.5, 2.0), TILT: tilt}


def ratios(layers: Sequence[LayerShape], total: int, params: Mapping[str, float]) -> list[float]:
    """Log-ratios to ERK at `total` weights (e-folds), of densities in proportion to ERK^power · e^(tilt · lever).

    The lever of a layer is the logarithm of its output positions where the network has convolutions, so that densities
    follow ERK^power · positions^tilt; else its depth, from -1 at the input to 1 at the output.
    """
    origin = allocation.erdos_renyi_kernel(layers, total / sum(layer.total for layer in layers))
    return [
        (params[POWER] - 1) * math.log(density) + params[TILT] * lever
        for density, lever in zip(origin, _levers(layers), strict=True)
    ]


def rule_params(rule: str) -> dict[str, float] | None:
    """The rules of hand_set that are such shapes."""
    found = {"erk": (1.0, 0.0), "erk_positions": (1.0, 0.5), "uniform": (0.0, 0.0)}.get(rule)
    return None if found is None else dict(zip((POWER, TILT), found, strict=True))


def _levers(layers: Sequence[LayerShape]) -> list[float]:
    if _has_positions(layers):
        return [math.log(layer.positions) for layer in layers]
    last = len(layers) - 1
    return [2 * number / last - 1 if last else 0.0 for number in range(len(layers))]


def _has_positions(layers: Sequence[LayerShape]) -> bool:
    return any(layer.positions > 1 for layer in layers)
