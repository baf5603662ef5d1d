"""From shares of a budget to exact counts: one multiplier is solved for, no layer is the remainder."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from models import allocation
from models.networks.shapes import LayerShape


def project(
    layers: Sequence[LayerShape], ratios: Sequence[float], total: int, floors: Sequence[int]
) -> tuple[int, ...]:
    """Counts that sum to `total`, `ratios` (e-folds) away from Erdős–Rényi-Kernel at that total.

    The density of a layer is min(1, c·ERK·e^ratio), not below its floor, and c is solved so that the sum is met.
    """
    density = total / sum(layer.total for layer in layers)
    origin = allocation.erdos_renyi_kernel(layers, density)
    shares = [share * layer.total * math.exp(ratio) for share, layer, ratio in zip(origin, layers, ratios, strict=True)]
    return fit(layers, shares, total, floors)


def fit(layers: Sequence[LayerShape], shares: Sequence[float], total: int, floors: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers proportional to `shares` between each layer's floor and its size, summing to `total` exactly."""
    limits = [layer.total for layer in layers]
    return allocation.whole_counts(targets(shares, floors, limits, total), limits, total, floors)


def targets(shares: Sequence[float], floors: Sequence[int], limits: Sequence[int], total: float) -> tuple[float, ...]:
    """The real numbers min(limit, max(floor, c·share)) whose sum is `total`."""
    assert sum(floors) <= total <= sum(limits), f"{total} is out of reach"

    def at(multiplier: float) -> list[float]:
        return [min(max(multiplier * s, low), high) for s, low, high in zip(shares, floors, limits, strict=True)]

    # The sum is a rising, piecewise linear function of the multiplier: its corners are where a layer meets a bound.
    corners = sorted({bound / share for share, *bounds in zip(shares, floors, limits, strict=True) for bound in bounds})
    sums = [math.fsum(at(corner)) for corner in corners]
    right = bisect_left(sums, total)
    if right == 0 or right == len(corners):
        return tuple(at(corners[min(right, len(corners) - 1)]))
    left = right - 1
    along = (total - sums[left]) / (sums[right] - sums[left])
    return tuple(at(corners[left] + along * (corners[right] - corners[left])))
