"""Dense to sparse: a training starts with every connection and ends with those asked."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch

from models.rewiring.largest import Scope
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@dataclass(frozen=True)
class Active:
    """begun, counts: connections of each layer before the first pruning, and after the last."""

    begun: tuple[int, ...]
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
    def prune(self, layers: Sequence["SparseLayer"], begun: tuple[int, ...], moment: Moment) -> list[Rewired | None]:
        """For each layer the connections that stay; None where all do.

        begun  connections of each layer before the first pruning
        """

    def starting(self, totals: tuple[int, ...], counts: tuple[int, ...]) -> tuple[int, ...]:
        del counts
        return totals

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        counts = tuple(layer.connections.nnz for layer in layers)
        return Active(counts, counts)

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
        before: Active = state
        rewired = self.prune(layers, before.begun, moment)
        pairs = zip(rewired, before.counts, strict=True)
        return replace(before, counts=tuple(new.connections.nnz if new else count for new, count in pairs)), rewired


def step_at(share: float, steps: int) -> int:
    """The first step at which this share of the steps has been taken."""
    return math.ceil(Fraction(str(share)) * steps)
