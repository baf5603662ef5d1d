"""Dynamic sparse reparameterization: one threshold for all layers, connections move between them.

Mostafa and Wang, ICML 2019, arXiv 1902.05967, algorithm 1.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor

from models.connections import Connections
from models.rewiring.growth import preferring
from models.rewiring.period import Every, Until, in_turn, refuse_no_steps
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State
from models.rewiring.shares import shared_out
from models.types import Positive, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

TOLERANCE = 0.1  # of the number aimed at, within which the threshold stays as it is


@dataclass(frozen=True)
class Threshold:
    """height: weights nearer 0 are pruned at the next rewiring; free: of each layer, whether it is rewired."""

    height: float
    free: tuple[bool, ...]


@setting
class DSR(Rewiring):
    """All weights nearer 0 than a threshold are pruned, whatever their layer; as many grow, at random and at 0.

    Each layer grows in proportion to the connections it has left, first at positions not just pruned. So the total
    stays exact and the layers' shares of it change. The threshold doubles where fewer than .9 of the number aimed at
    were pruned, and is halved where more than 1.1 were.

    A layer whose connections are all active at the start stays as it is. Ours, as the paper leaves it open: the largest
    weight of a layer is never pruned, so that no layer is lost; just pruned positions grow again where a layer has no
    others left.

    fraction   of all connections, how many to aim at, N_p in the paper
    threshold  at the first rewiring
    every      number of optimizer steps between two rewirings, or "epoch"
    until      share of the training at which rewiring ends
    """

    kind: Literal["dsr"] = "dsr"
    fraction: Annotated[float, Interval(gt=0, le=1)] = 0.1
    threshold: Positive = 0.001
    every: Every = 100
    until: Until = 0.95

    def __post_init__(self) -> None:
        refuse_no_steps("DSR", self.every)

    def due(self, moment: Moment) -> bool:
        return in_turn(moment, self.every, self.until)

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        return Threshold(self.threshold, tuple(layer.connections.nnz < layer.connections.total for layer in layers))

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        return sum(counts)

    def __call__(
        self, state: Threshold, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        chosen = [layer for layer, free in zip(layers, state.free, strict=True) if free]
        before = [layer.connections for layer in chosen]
        kept = [
            each.kept(_below(layer.values.detach().cpu(), state.height))
            for each, layer in zip(before, chosen, strict=True)
        ]
        left, total = [each.nnz for each in kept], sum(each.nnz for each in before)
        pruned = total - sum(left)
        counts = shared_out(pruned, left, [each.total - each.nnz for each in kept])
        after = iter([_grown(*each, generator) for each in zip(before, kept, counts, strict=True)])
        rewired = [next(after) if free else None for free in state.free]
        return dataclasses.replace(state, height=self._next(state.height, pruned, total)), rewired

    def _next(self, height: float, pruned: int, total: int) -> float:
        aim = self.fraction * total
        if pruned < (1 - TOLERANCE) * aim:
            return 2 * height
        return height / 2 if pruned > (1 + TOLERANCE) * aim else height


def _below(values: Tensor, height: float) -> Tensor:
    """bool [nnz]: nearer 0 than `height`, but for the largest."""
    magnitudes = values.abs()
    below = magnitudes < height
    below[magnitudes.argmax()] = False
    return below


def _grown(before: Connections, kept: Connections, count: int, generator: torch.Generator) -> Rewired | None:
    if before.nnz == kept.nnz and count == 0:
        return None
    grown = preferring(kept, before, count, generator)
    return Rewired(kept.grown(grown), grown, torch.zeros(count))
