"""Keeping the connections of largest weight: exact counts, ties to the lower position, what is gone stays gone."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.connections import Connections, top_k
from models.rewired import Rewired

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

Scope = Literal["layer", "global"]
"""Where weights are compared: within each layer, or among all layers that may lose any."""

Remaining = Callable[[int, int], int]
"""How many connections remain of those at the start, given how many are asked for in the end."""


def keep_largest(
    layers: Sequence["SparseLayer"], begun: Sequence[int], asked: Sequence[int], remaining: Remaining, scope: Scope
) -> list[Rewired | None]:
    """What each layer keeps: per layer as many as remain of it, or of all layers together the largest.

    begun, asked  connections of each layer at the start and in the end; globally their sums count, and layers asked in
                  full stay full

    Raises: ValueError where fewer are active than are to remain
    """
    if scope == "layer":
        counts = [remaining(first, last) for first, last in zip(begun, asked, strict=True)]
        return [kept(layer, top_k(magnitudes(layer), count)) for layer, count in zip(layers, counts, strict=True)]
    totals = [layer.connections.total for layer in layers]
    pruned = [number for number, (count, total) in enumerate(zip(asked, totals, strict=True)) if count < total]
    found: list[Rewired | None] = [None for _ in layers]
    if not pruned:
        return found
    count = remaining(sum(begun[number] for number in pruned), sum(asked[number] for number in pruned))
    scores = [magnitudes(layers[number]) for number in pruned]
    stays = torch.zeros(sum(len(each) for each in scores), dtype=torch.bool)
    stays[top_k(torch.cat(scores), count)] = True
    for number, own in zip(pruned, torch.split(stays, [len(each) for each in scores]), strict=True):
        found[number] = kept(layers[number], own.nonzero().flatten())
    return found


def magnitudes(layer: "SparseLayer") -> Tensor:
    """[nnz]: of the active weights, on the CPU."""
    return layer.values.detach().abs().cpu()


def kept(layer: "SparseLayer", places: Tensor) -> Rewired | None:
    """The layer with only these of its connections, int64 [k] ascending places among them; None where that is all."""
    before = layer.connections
    if len(places) == before.nnz:
        return None
    none = torch.empty(0, dtype=torch.int64)
    return Rewired(Connections(before.shape, before.positions[places]), none, torch.empty(0))
