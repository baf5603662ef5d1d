"""Dense to sparse: a training starts with every connection and ends with those asked."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from models.rewiring.largest import Scope
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@dataclass(frozen=True)
class Active:
    """counts: connections of each layer after the last pruning."""

    counts: tuple[int, ...]


class Pruning(Rewiring):
    """Removes connections and never grows one."""

    @property
    @abstractmethod
    def sparse_from(self) -> float:
        """The share of the steps after which the network has the connections asked; until then it has more."""

    @property
    def compares(self) -> Scope:
        """Whether each layer ends with what was asked of it, or all together with the sum."""
        return "layer"

    @abstractmethod
    def prune(self, layers: Sequence["SparseLayer"], moment: Moment) -> list[Rewired | None]:
        """For each layer the connections that stay; None where all do."""

    def starting(self, totals: tuple[int, ...], counts: tuple[int, ...]) -> tuple[int, ...]:
        del counts
        return totals

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        return Active(tuple(layer.connections.nnz for layer in layers))

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        del rewired
        if moment.step < step_at(self.sparse_from, moment.steps):
            decided: tuple[int, ...] = state.counts
            return decided
        return counts if self.compares == "layer" else sum(counts)

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        del generator
        rewired = self.prune(layers, moment)
        pairs = zip(rewired, state.counts, strict=True)
        return Active(tuple(after.connections.nnz if after else count for after, count in pairs)), rewired


def step_at(share: float, steps: int) -> int:
    """The first step at which this share of the steps has been taken."""
    return math.ceil(Fraction(str(share)) * steps)
