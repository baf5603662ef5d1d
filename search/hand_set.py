"""Densities set by hand: the rules that a search starts from and has to beat."""

import math
from collections.abc import Sequence
from typing import Literal

from models import allocation
from models.networks.shapes import LayerShape
from search.projection import fit, targets

Rule = Literal["erk", "erk_dense_output", "erk_positions", "uniform"]

STARTS: tuple[Rule, ...] = ("erk", "erk_dense_output", "erk_positions")
"""Rules worth taking home; `uniform` is only a reference."""


def densities(rule: Rule, layers: Sequence[LayerShape], density: float) -> tuple[float, ...] | None:
    """The rule's real densities at a global `density`, or None where it is not defined.

    erk_dense_output  the output layer full, ERK in the others; only where that takes at most half of the weights
    erk_positions     ERK times the square root of the output positions; only where a layer has more than one
    """
    match rule:
        case "uniform":
            return allocation.uniform(layers, density)
        case "erk":
            return allocation.erdos_renyi_kernel(layers, density)
        case "erk_dense_output":
            return _with_dense_output(layers, density)
        case "erk_positions":
            return _by_positions(layers, density)


def counts(rule: Rule, layers: Sequence[LayerShape], total: int, floors: Sequence[int]) -> tuple[int, ...] | None:
    """The rule's whole numbers of weights, exactly `total` together, or None where it is not defined."""
    if rule == "erk_dense_output":
        *others, output = layers
        rest = total - output.total
        if _room_for_dense_output(layers, total) and rest >= sum(floors[:-1]):
            return (*_fit("erk", others, rest, floors[:-1]), output.total)
        return None
    defined = densities(rule, layers, total / sum(layer.total for layer in layers)) is not None
    return _fit(rule, layers, total, floors) if defined else None


def _fit(rule: Rule, layers: Sequence[LayerShape], total: int, floors: Sequence[int]) -> tuple[int, ...]:
    real = densities(rule, layers, total / sum(layer.total for layer in layers))
    assert real is not None
    return fit(layers, [share * layer.total for share, layer in zip(real, layers, strict=True)], total, floors)


def _room_for_dense_output(layers: Sequence[LayerShape], total: float) -> bool:
    return len(layers) > 1 and layers[-1].name == "output" and 2 * layers[-1].total <= total


def _with_dense_output(layers: Sequence[LayerShape], density: float) -> tuple[float, ...] | None:
    total = density * sum(layer.total for layer in layers)
    if not _room_for_dense_output(layers, total):
        return None
    *others, output = layers
    rest = (total - output.total) / sum(layer.total for layer in others)
    return (*allocation.erdos_renyi_kernel(others, rest), 1.0)


def _by_positions(layers: Sequence[LayerShape], density: float) -> tuple[float, ...] | None:
    if all(layer.positions == 1 for layer in layers):
        return None
    origin = allocation.erdos_renyi_kernel(layers, density)
    limits = [layer.total for layer in layers]
    shares = [s * layer.total * math.sqrt(layer.positions) for s, layer in zip(origin, layers, strict=True)]
    real = targets(shares, [0] * len(layers), limits, density * sum(limits))
    return tuple(each / limit for each, limit in zip(real, limits, strict=True))
