"""Real-valued densities of the layers from one for the whole network, and whole counts of connections from them."""

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

from models.networks.shapes import LayerShape


def uniform(layers: Sequence[LayerShape], density: float) -> tuple[float, ...]:
    """The same density in every layer.

    Raises: ValueError for a density outside (0, 1].
    """
    _check(density)
    return tuple(density for _ in layers)


def erdos_renyi(layers: Sequence[LayerShape], density: float) -> tuple[float, ...]:
    """Erdős–Rényi: proportional to (in + out) / (in * out), scaled so that `density` of all weights are active.

    Layers that would pass 1 become dense, the others share the rest. Mocanu et al. 2018, scaled as by Evci et al. 2020.

    Raises: ValueError for a density outside (0, 1].
    """
    return _scaled(layers, [_ratio(layer.weight[:2]) for layer in layers], density)


def erdos_renyi_kernel(layers: Sequence[LayerShape], density: float) -> tuple[float, ...]:
    """ERK: `erdos_renyi` with the sides of a kernel among the dimensions: sum over product of all. Evci et al. 2020.

    Raises: ValueError for a density outside (0, 1].
    """
    return _scaled(layers, [_ratio(layer.weight) for layer in layers], density)


def erdos_renyi_epsilon(layers: Sequence[LayerShape], epsilon: float) -> tuple[float, ...]:
    """SET's own form: min(1, epsilon (in + out) / (in * out)), whatever that makes in total. Mocanu et al. 2018.

    Raises: ValueError for an epsilon that is not a positive number.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: {epsilon} is not allowed; it must be a finite number > 0")
    return tuple(float(min(Fraction(1), Fraction(epsilon) * _ratio(layer.weight[:2]))) for layer in layers)


def whole_counts(
    targets: Sequence[float], limits: Sequence[int], total: int, floors: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Whole numbers near the targets that add up to exactly `total`: largest remainder, the lower layer first on ties.

    targets  real-valued connections of each layer
    limits   most connections of each layer, its size
    floors   fewest of each layer, 0 unless given

    Where the targets add up to something else, or a floor or limit binds, ones are added to the layers furthest below
    their target, or taken from those furthest above, one at a time. Remainders closer than 1e-9 are ties.

    Raises: ValueError where no counts between floors and limits add up to `total`.
    """
    floors = [0] * len(limits) if floors is None else floors
    if not sum(floors) <= total <= sum(limits) or any(map(int.__gt__, floors, limits)):
        raise ValueError(
            f"total: {total} is not allowed; layers between {list(floors)} and {list(limits)} cannot make it"
        )
    bounds = zip(targets, floors, limits, strict=True)
    counts = [min(max(math.floor(target), floor), limit) for target, floor, limit in bounds]
    short = total - sum(counts)
    sign, ends = (1, limits) if short > 0 else (-1, floors)
    # The heap's least is the layer to change next: most below its target to add, most above it to take.
    order = [(_need(sign, counts[i], targets[i]), sign * i, i) for i in range(len(counts)) if counts[i] != ends[i]]
    heapq.heapify(order)
    for _ in range(abs(short)):
        _, tie, layer = heapq.heappop(order)
        counts[layer] += sign
        if counts[layer] != ends[layer]:
            heapq.heappush(order, (_need(sign, counts[layer], targets[layer]), tie, layer))
    return tuple(counts)


def _need(sign: int, count: int, target: float) -> float:
    return round(sign * (count - target), 9)


def _ratio(dimensions: Sequence[int]) -> Fraction:
    return Fraction(sum(dimensions), math.prod(dimensions))


def _scaled(layers: Sequence[LayerShape], ratios: Sequence[Fraction], density: float) -> tuple[float, ...]:
    """min(1, scale * ratio) with the one scale that makes `density` of all weights active; exact, in fractions."""
    _check(density)
    sizes = [layer.total for layer in layers]
    budget = Fraction(density) * sum(sizes)
    dense: set[int] = set()
    while len(dense) < len(layers):
        free = [i for i in range(len(layers)) if i not in dense]
        scale = (budget - sum(sizes[i] for i in dense)) / sum(ratios[i] * sizes[i] for i in free)
        # Capping one layer only raises the scale of the others: all that pass 1 now would pass it later too.
        over = {i for i in free if scale * ratios[i] > 1}
        if not over:
            return tuple(1.0 if i in dense else float(scale * ratios[i]) for i in range(len(layers)))
        dense |= over
    return tuple(1.0 for _ in layers)


def _check(density: float) -> None:
    if not 0 < density <= 1:
        raise ValueError(f"density: {density} is not allowed; it must be > 0 and <= 1")
