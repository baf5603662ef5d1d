"""How far apart two sparse topologies are, whatever order their hidden units stand in: NNSTD.

Liu et al., ECML-PKDD 2020, arXiv 2006.14085: neural network sparse topology distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.connections import Connections
from models.networks.shapes import refuse_branches

Array = np.ndarray[Any, Any]
Output = Literal["matched", "fixed"]


@dataclass(frozen=True)
class TopologyDistance:
    """layers: of each layer, in [0, 1]; total: their mean."""

    layers: tuple[float, ...]

    @property
    def total(self) -> float:
        return sum(self.layers) / len(self.layers)


def nnstd(a: Sequence[Connections], b: Sequence[Connections], output: Output = "matched") -> TopologyDistance:
    """The mean normalised edit distance of units matched one to one, layer after layer from the input.

    Two units are as far apart as the Jaccard distance of their inputs; a unit of a convolution is an output channel,
    its inputs the kernel's places. Hidden units are matched at the least total, and the next layer of `b` is read in
    that order: greedy, not the least over all orders at once. The layers are taken as a chain, one feeding the next.

    a, b    of each layer, from input to output
    output  `matched` as published, or `fixed`: the last layer's units are classes, and stay themselves

    Raises: ValueError for networks of different shapes, or a layer whose inputs are no multiple of the units before it
    """
    _check(a, b)
    found: list[float] = []
    order: Array | None = None
    for number, (one, other) in enumerate(zip(a, b, strict=True)):
        far = unit_distances(one, other, order)
        last = number == len(a) - 1
        order = np.arange(len(far)) if last and output == "fixed" else _matched(far)
        found.append(float(far[np.arange(len(far)), order].mean()))
    return TopologyDistance(tuple(found))


def unit_distances(a: Connections, b: Connections, order: Array | None = None) -> Array:
    """float64 [out, out]: of each unit of `a` from each of `b`, in memory for the active connections alone.

    order  which unit before `b` stands where in `a`: int64 [units before]; None for the same order
    """
    from scipy import sparse  # here: only this measure needs it, and importing it takes every process longer to start

    width = a.total // a.shape[0]
    places = [a.positions.numpy(), b.positions.numpy() if order is None else _reordered(b, order)]
    # Numbered anew: of a huge layer most inputs are nobody's.
    numbers = np.unique(np.concatenate([each % width for each in places]), return_inverse=True)[1]
    size = (a.shape[0], int(numbers.max(initial=0)) + 1)
    ours, theirs = (
        sparse.csr_array((np.ones(len(each), np.int64), (each // width, inputs)), shape=size)
        for each, inputs in zip(places, np.split(numbers, [len(places[0])]), strict=True)
    )
    common = (ours @ theirs.T).toarray().astype(np.float64)
    either = ours.sum(axis=1).reshape(-1, 1) + theirs.sum(axis=1).reshape(1, -1) - common
    # Two units without any input are alike.
    return np.asarray(np.where(either > 0, 1 - common / np.maximum(either, 1), 0.0))


def _reordered(connections: Connections, order: Array) -> Array:
    """The positions, once the inputs from unit order[j] stand where those from unit j did."""
    width = connections.total // connections.shape[0]
    each = width // len(order)  # pixels of a flattened map, places of a kernel
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    units, inputs = np.divmod(connections.positions.numpy(), width)
    before, rest = np.divmod(inputs, each)
    reordered: Array = units * width + place[before] * each + rest
    return reordered


def _matched(far: Array) -> Array:
    """int64 [out]: which unit of the other network each is paired with. Kuhn 1955, the Hungarian method."""
    from scipy.optimize import linear_sum_assignment

    order: Array = linear_sum_assignment(far)[1]
    return order


def _check(a: Sequence[Connections], b: Sequence[Connections]) -> None:
    shapes = [[tuple(each.shape) for each in network] for network in (a, b)]
    if shapes[0] != shapes[1] or not a:
        raise ValueError(f"topologies: {shapes[0]} and {shapes[1]} cannot be compared; layers must have equal shapes")
    refuse_branches(shapes[0])
