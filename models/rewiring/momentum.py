"""Sparse momentum (SNFS): connections move to the layers, and grow at the positions, with the largest momentum.

Dettmers and Zettlemoyer 2019, arXiv 1907.04840, section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.connections import Connections
from models.rewiring.drop import AnyDrop, CosineDrop, dropped
from models.rewiring.growth import highest
from models.rewiring.period import Every, Until, in_turn, progress, refuse_no_steps
from models.rewiring.removal import removed_by_magnitude
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State
from models.rewiring.shares import shared_out
from models.types import Momentum, Share, setting

if TYPE_CHECKING:
    from models.dense_gradient import DenseGradient
    from models.layers.sparse import SparseLayer


@dataclass(frozen=True, eq=False)
class Smoothed:
    """Of each layer the average of its dense gradients, [*shape]; nothing, [0], of one that is not rewired."""

    gradients: tuple[Tensor, ...]


@setting
class SparseMomentum(Rewiring):
    """Of each layer the share `fraction` of its connections is dropped by magnitude. As many grow in all: shared out
    over the layers in proportion to the mean momentum magnitude of the weights that were active, and in each where the
    momentum is largest by magnitude, among all positions not kept. So the total stays exact and the layers' shares of
    it change.

    The momentum is an exponential average of dense gradients of its own, the same whatever the optimizer. It takes the
    memory of a dense layer, and every step until the end is taken by autograd and multiplies dense matrices: such a
    training costs more than a dense one. A layer whose connections are all active at the start stays as it is.
    Ours, as the paper leaves it open: where no layer has any momentum, each grows what it lost.

    fraction   share dropped at the beginning;  drop  how it falls until the end
    smoothing  share of the average that stays at each step
    every      "epoch", or the number of optimizer steps between two rewirings
    until      share of the training at which rewiring ends
    """

    kind: Literal["momentum"] = "momentum"
    fraction: Share = 0.3
    drop: AnyDrop = CosineDrop()
    smoothing: Momentum = 0.9
    every: Every = "epoch"
    until: Until = 1.0

    def __post_init__(self) -> None:
        refuse_no_steps("SparseMomentum", self.every)

    def due(self, moment: Moment) -> bool:
        return self.fraction > 0 and in_turn(moment, self.every, self.until)

    def observes(self, moment: Moment) -> bool:
        return self.fraction > 0 and progress(moment, self.until) < 1

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        return Smoothed(tuple(_zeros(layer) for layer in layers))

    def observe(self, state: Smoothed, moment: Moment) -> State:
        pairs = zip(state.gradients, moment.watched, strict=True)
        return Smoothed(tuple(self._smoothed(average, gradient) for average, gradient in pairs))

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        return sum(counts)

    def __call__(
        self, state: Smoothed, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        del generator
        share = dropped(self.fraction, self.drop, moment, self.until)
        chosen = [
            (layer, average.flatten())
            for layer, average in zip(layers, state.gradients, strict=True)
            if average.numel()
        ]
        kept = [_kept(layer, share) for layer, _ in chosen]
        lost = [layer.connections.nnz - each.nnz for (layer, _), each in zip(chosen, kept, strict=True)]
        strengths = [_strength(average[layer.connections.positions]) for layer, average in chosen]
        room = [each.total - each.nnz for each in kept]
        counts = shared_out(sum(lost), strengths if any(strengths) else lost, room)
        after = iter(_grown(*each) for each in zip(kept, lost, counts, [average for _, average in chosen], strict=True))
        return state, [next(after) if average.numel() else None for average in state.gradients]

    def _smoothed(self, average: Tensor, gradient: "DenseGradient") -> Tensor:
        if not average.numel():
            return average
        now = gradient.whole()
        return average.to(now).lerp(now, 1 - self.smoothing)


def _zeros(layer: "SparseLayer") -> Tensor:
    before = layer.connections
    return torch.zeros(before.shape if before.nnz < before.total else 0)


def _kept(layer: "SparseLayer", share: Fraction) -> Connections:
    before = layer.connections
    return before.kept(removed_by_magnitude(layer.values.detach().cpu(), math.floor(share * before.nnz)))


def _strength(active: Tensor) -> float:
    """Mean magnitude; 0 of a layer that has lost all its connections."""
    return float(active.abs().double().mean()) if active.numel() else 0.0


def _grown(kept: Connections, lost: int, count: int, average: Tensor) -> Rewired | None:
    if lost == count == 0:
        return None
    grown = highest(kept, [(0, average)], count)
    return Rewired(kept.grown(grown), grown, torch.zeros(count))
