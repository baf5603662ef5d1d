"""Topologies that score every weight of the dense network before its first step, and keep the highest."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, Protocol

import torch
from torch import Tensor

from models.connections import Connections, top_k
from models.data.samples import Samples
from models.networks.shapes import LayerShape
from models.untrained import Untrained

Values = Literal["kept", "redrawn"]
"""Whether training starts from the weights that were scored, or from new ones for the connections found."""


class Select(Protocol):
    """Which connections stay, given a score for each weight: within each layer, or across all."""

    def __call__(self, scores: Sequence[Tensor], progress: float = 1.0) -> list[Connections]:
        """scores    [total] of each layer, the highest stay; ties go to the lower position
        progress  of several rounds: at 1 the asked number stays, at 0 all, in between their geometric mean"""
        ...


class Scoring(ABC):
    """A topology that looks at values, and mostly at samples.

    Asked with counts, it keeps the highest scores of each layer. Asked for an allocation, the highest of all layers
    together, as its authors do: what that makes in each layer.
    """

    values: Values

    @abstractmethod
    def batch(self, train: Samples, generator: torch.Generator) -> Samples | None:
        """The samples it looks at; None where it needs none. Raises: ValueError where there are too few."""

    @abstractmethod
    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        """Scores each weight of `network.layers`, and has `select` keep the highest."""

    def __call__(self, network: Untrained, counts: Sequence[int], generator: torch.Generator) -> list[Connections]:
        return self.choose(network, WithinLayers(network.layers, tuple(counts)), generator)

    def allocate(self, network: Untrained, total: int, generator: torch.Generator) -> tuple[int, ...]:
        """Connections of each layer, `total` together; a layer may be left with none.

        Raises: ValueError where there are fewer weights, or too few samples.
        """
        chosen = self.choose(network, AcrossLayers(network.layers, total), generator)
        return tuple(each.nnz for each in chosen)


@dataclass(frozen=True)
class WithinLayers:
    """The highest scores of each layer. Raises: ValueError for more connections than weights."""

    layers: tuple[LayerShape, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        for layer, count in zip(self.layers, self.counts, strict=True):
            if not 0 <= count <= layer.total:
                raise ValueError(f"counts: {count} is not allowed; {layer.name} has {layer.total} weights")

    def __call__(self, scores: Sequence[Tensor], progress: float = 1.0) -> list[Connections]:
        return [
            Connections(layer.weight, top_k(score, _left(layer.total, count, progress)))
            for layer, count, score in zip(self.layers, self.counts, scores, strict=True)
        ]


@dataclass(frozen=True)
class AcrossLayers:
    """The highest scores of all layers together. Raises: ValueError for more connections than weights."""

    layers: tuple[LayerShape, ...]
    total: int

    def __post_init__(self) -> None:
        most = sum(layer.total for layer in self.layers)
        if not 0 <= self.total <= most:
            raise ValueError(f"total: {self.total} is not allowed; it must be between 0 and {most}")

    def __call__(self, scores: Sequence[Tensor], progress: float = 1.0) -> list[Connections]:
        sizes = [layer.total for layer in self.layers]
        chosen = top_k(torch.cat(list(scores)), _left(sum(sizes), self.total, progress))
        starts = list(accumulate(sizes, initial=0))
        parts = torch.searchsorted(chosen, torch.tensor(starts)).tolist()
        return [
            Connections(layer.weight, chosen[first:end] - start)
            for layer, start, first, end in zip(self.layers, starts[:-1], parts[:-1], parts[1:], strict=True)
        ]


def drawn(train: Samples, count: int, generator: torch.Generator) -> Samples:
    """`count` samples, uniform without replacement. Raises: ValueError where there are fewer."""
    if count > len(train):
        raise ValueError(f"samples: {count} is not allowed; there are {len(train)} to train on")
    return train.at(torch.randperm(len(train), generator=generator)[:count])


def _left(size: int, count: int, progress: float) -> int:
    return count if progress == 1 else round(size * (count / size) ** progress)
