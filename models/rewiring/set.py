"""Sparse Evolutionary Training: drop the weights closest to zero, grow as many at random. Nat. Commun. 9:2383."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from models.connections import Connections
from models.rewiring.drop import AnyDrop, ConstantDrop, dropped
from models.rewiring.growth import preferring
from models.rewiring.period import Every, Until, in_turn, refuse_no_steps
from models.rewiring.removal import removed_by_magnitude, removed_by_sign
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State
from models.types import Share, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

GROWN_DEVIATION = 0.1  # standard deviation of a new weight in the paper


@dataclass(frozen=True, eq=False)
class Fired:
    """Of each layer the positions that have been active so far, int64 [f] ascending."""

    positions: tuple[Tensor, ...]


@setting
class SET(Rewiring):
    """Removes the share `fraction` of the positive and of the negative weights, and every active weight that is 0.

    As many grow, uniformly among all positions then absent, those just removed included.
    A layer whose connections are all active stays as it is; a fraction of 0 is no rewiring at all.

    every       "epoch", or the number of optimizer steps between two rewirings
    last_epoch  "skip": none after the last epoch (the authors' code); "prune_only": remove and do not regrow there
                (the pseudocode), which leaves fewer connections than asked
    grown       value of a new connection: "zero", or "normal" for the paper's N(0, 0.1²)
    removal     "per_sign", or "magnitude": the share `fraction` of all weights, whatever their sign (RigL's authors)
    drop        how the share falls over the training;  until  share of the training at which rewiring ends
    growth      "random", or "unfired": positions that were never active come first (Liu et al. 2021, ITOP, arXiv
                2102.02887)
    """

    kind: Literal["set"] = "set"
    fraction: Share = 0.3
    every: Every = "epoch"
    last_epoch: Literal["skip", "prune_only"] = "skip"
    grown: Literal["zero", "normal"] = "zero"
    removal: Literal["per_sign", "magnitude"] = "per_sign"
    drop: AnyDrop = ConstantDrop()
    until: Until = 1.0
    growth: Literal["random", "unfired"] = "random"

    def __post_init__(self) -> None:
        refuse_no_steps("SET", self.every)
        if self.last_epoch == "prune_only" and (self.until < 1 or self.drop != ConstantDrop()):
            raise ValueError(
                "SET.last_epoch: 'prune_only' is not allowed with a drop that falls or an until before the end: "
                "nothing would be left to prune there; it must be 'skip'"
            )

    def due(self, moment: Moment) -> bool:
        if self.fraction == 0:
            return False
        if moment.last:
            return self.last_epoch == "prune_only"
        return in_turn(moment, self.every, self.until)

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        if self.growth == "random":
            return None
        return Fired(tuple(layer.connections.positions for layer in layers))

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        del state
        if not moment.last:
            return counts
        return tuple(
            min(count, after.connections.nnz) if after else count for count, after in zip(counts, rewired, strict=True)
        )

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        share = dropped(self.fraction, self.drop, moment, self.until)
        fired = state.positions if isinstance(state, Fired) else (None,) * len(layers)
        rewired = [
            self._rewired(layer, share, not moment.last, before, generator)
            for layer, before in zip(layers, fired, strict=True)
        ]
        if isinstance(state, Fired):
            state = Fired(tuple(_and_grown(*each) for each in zip(state.positions, rewired, strict=True)))
        return state, rewired

    def _rewired(
        self, layer: "SparseLayer", share: Fraction, regrow: bool, fired: Tensor | None, generator: torch.Generator
    ) -> Rewired | None:
        before = layer.connections
        if before.nnz == before.total:
            return None
        kept = before.kept(self._removed(layer.values.detach().cpu(), share))
        count = before.nnz - kept.nnz
        if count == 0:
            return None
        if not regrow:
            count = 0
        if fired is None:
            grown = kept.sample_absent(count, generator)
        else:
            grown = preferring(kept, Connections(before.shape, fired), count, generator)
        return Rewired(kept.grown(grown), grown, self._values(grown.numel(), generator))

    def _removed(self, values: Tensor, share: Fraction) -> Tensor:
        if self.removal == "per_sign":
            return removed_by_sign(values, share)
        return removed_by_magnitude(values, math.floor(share * values.numel()))

    def _values(self, count: int, generator: torch.Generator) -> Tensor:
        if self.grown == "zero":
            return torch.zeros(count)
        return GROWN_DEVIATION * torch.randn(count, generator=generator)


def _and_grown(fired: Tensor, after: Rewired | None) -> Tensor:
    """int64 [f]: what was active before, and since this rewiring."""
    return fired if after is None else Connections(after.connections.shape, fired).joined(after.grown).positions
