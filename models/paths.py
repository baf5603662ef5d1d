"""Paths from inputs to outputs: how many there are, exactly, and which units and connections lie on one.

A unit is a neuron of a fully connected layer or a channel of a convolution. Two channels are linked where any weight of
the kernel between them is active; a channel and a neuron where any weight between them is. Path counts of RadiX-Nets:
Robinett and Kepner 2019, arXiv 1905.00416; connections on no path count for nothing: Vysogorets and Kempe 2021,
arXiv 2107.02306.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.connections import Connections

Array = NDArray[Any]


@dataclass(frozen=True)
class Connectivity:
    """paths        from any input to any output, in all
    inputs          that lie on a path, of all
    outputs         likewise
    on_paths        connections of each layer that lie on a path: the effective ones
    """

    paths: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    on_paths: tuple[int, ...]


def path_counts(connections: Sequence[Connections]) -> Array:
    """[outputs, inputs]: how many paths lead from each input to each output, whole numbers of any size.

    connections  of a stack of layers, from input to output

    Raises: ValueError where the layers do not follow one another.
    """
    layers = _links(connections)
    paths: Array = np.eye(layers[0].inputs, dtype=_exact(layers))
    for layer in layers:
        paths = np.stack([paths[sources].sum(axis=0) for sources in layer.by_output()])
    return paths


def connectivity(connections: Sequence[Connections]) -> Connectivity:
    """What is linked with what, in time and memory of the order of the connections.

    connections  of a stack of layers, from input to output

    Raises: ValueError where the layers do not follow one another.
    """
    layers = _links(connections)
    forward: list[Array] = [np.ones(layers[0].inputs, dtype=object)]
    for layer in layers:
        forward.append(_sums(forward[-1], layer.sources, layer.targets, layer.outputs))
    backward: list[Array] = [np.ones(layers[-1].outputs, dtype=object)]
    for layer in reversed(layers):
        backward.append(_sums(backward[-1], layer.targets, layer.sources, layer.inputs))
    backward.reverse()
    on_path = [(ahead > 0) & (behind > 0) for ahead, behind in zip(forward, backward, strict=True)]
    effective = tuple(
        int(layer.weights[on_path[n][layer.sources] & on_path[n + 1][layer.targets]].sum())
        for n, layer in enumerate(layers)
    )
    ends = [(int(each.sum()), len(each)) for each in (on_path[0], on_path[-1])]
    return Connectivity(int(sum(forward[-1])), ends[0], ends[1], effective)


@dataclass(frozen=True, eq=False)
class _Links:
    """Which units of one layer are linked: int64 [k] each, by target, then by source; weights: active ones of each."""

    sources: Array
    targets: Array
    weights: Array
    inputs: int
    outputs: int

    def by_output(self) -> list[Array]:
        return np.split(self.sources, np.searchsorted(self.targets, np.arange(1, self.outputs)))


def _links(connections: Sequence[Connections]) -> list[_Links]:
    found: list[_Links] = []
    for number, active in enumerate(connections):
        out, into, *_ = active.shape
        before = found[-1].outputs if found else into
        if into % before or (into != before and len(active.shape) > 2):
            raise ValueError(f"connections: layer {number} has {into} inputs; the layer before has {before} outputs")
        # A flattened channel is as many inputs as it has positions.
        owned = into // before * math.prod(active.shape[2:])
        pairs, weights = np.unique(active.positions.numpy() // owned, return_counts=True)
        found.append(_Links(pairs % before, pairs // before, weights, before, out))
    return found


def _exact(layers: Sequence[_Links]) -> type[object]:
    """int64 where no count can pass it, Python's own whole numbers otherwise."""
    largest = math.prod(int(np.bincount(layer.targets, minlength=1).max()) for layer in layers)
    return np.int64 if largest < 2**63 else object


def _sums(values: Array, sources: Array, targets: Array, size: int) -> Array:
    """[size]: for each target the sum over the values of its sources."""
    sums: Array = np.zeros(size, dtype=object)
    np.add.at(sums, targets, values[sources])
    return sums
