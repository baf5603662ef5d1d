"""RigL: drop the weights closest to zero, grow where the gradient is largest. Evci et al. 2020, arXiv 1911.11134."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import torch

from models.rewiring.drop import AnyDrop, CosineDrop, dropped
from models.rewiring.growth import highest
from models.rewiring.period import Every, Until, in_turn, refuse_no_steps
from models.rewiring.removal import removed_by_magnitude
from models.rewiring.rewiring import Moment, Rewired, Rewiring, State
from models.types import Share, setting

if TYPE_CHECKING:
    from models.dense_gradient import DenseGradient
    from models.layers.sparse import SparseLayer


@setting
class RigL(Rewiring):
    """Of each layer floor(f(t) nnz) connections are dropped by magnitude; as many grow where the gradient of the
    batch at hand is largest by magnitude, among all positions not kept, those just dropped included.

    The rewiring takes the place of the optimizer's step at its moment. What grows starts at 0, what is grown again
    right after it was dropped included (the authors' code leaves that one its weight). A layer whose connections are
    all active stays as it is; a fraction of 0 is no rewiring at all.

    fraction  share dropped at the beginning;  drop  how it falls until the end
    every     number of optimizer steps between two rewirings, or "epoch"
    until     share of the training at which rewiring ends
    """

    kind: Literal["rigl"] = "rigl"
    fraction: Share = 0.3
    drop: AnyDrop = CosineDrop()
    every: Every = 100
    until: Until = 0.75

    def __post_init__(self) -> None:
        refuse_no_steps("RigL", self.every)

    def due(self, moment: Moment) -> bool:
        return self.fraction > 0 and in_turn(moment, self.every, self.until)

    def observes(self, moment: Moment) -> bool:
        return self.due(moment)

    def learns(self, moment: Moment) -> bool:
        return not self.due(moment)

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        del generator
        share = dropped(self.fraction, self.drop, moment, self.until)
        pairs = zip(layers, moment.watched, strict=True)
        return state, [_rewired(layer, gradient, share) for layer, gradient in pairs]


def _rewired(layer: "SparseLayer", gradient: "DenseGradient", share: Fraction) -> Rewired | None:
    before = layer.connections
    count = math.floor(share * before.nnz)
    if before.nnz == before.total or count == 0:
        return None
    kept = before.kept(removed_by_magnitude(layer.values.detach().cpu(), count))
    grown = highest(kept, gradient.blocks(), count)
    return Rewired(kept.grown(grown), grown, torch.zeros(count))
