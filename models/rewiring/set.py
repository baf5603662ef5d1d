"""Sparse Evolutionary Training: drop the weights closest to zero, grow as many at random. Nat. Commun. 9:2383."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from models.kernels.selection import nearest_zero
from models.rewiring.rewiring import Asked, Moment, Rewired, Rewiring, State
from models.types import Share, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

GROWN_DEVIATION = 0.1  # standard deviation of a new weight in the paper


@setting
class SET(Rewiring):
    """Removes the share `fraction` of the positive and of the negative weights, and every active weight that is 0.

    As many grow, uniformly among all positions then absent, those just removed included.
    A layer whose connections are all active stays as it is; a fraction of 0 is no rewiring at all.

    every       "epoch", or the number of optimizer steps between two rewirings
    last_epoch  "skip": none after the last epoch (the authors' code); "prune_only": remove and do not regrow there
                (the pseudocode), which leaves fewer connections than asked
    grown       value of a new connection: "zero", or "normal" for the paper's N(0, 0.1²)
    """

    kind: Literal["set"] = "set"
    fraction: Share = 0.3
    every: Literal["epoch"] | Annotated[int, Ge(1)] = "epoch"
    last_epoch: Literal["skip", "prune_only"] = "skip"
    grown: Literal["zero", "normal"] = "zero"

    def __post_init__(self) -> None:
        if self.every != "epoch" and self.every < 1:
            raise ValueError(f'SET.every: {self.every} is not allowed; it must be "epoch" or >= 1')

    def due(self, moment: Moment) -> bool:
        if self.fraction == 0:
            return False
        if moment.last:
            return self.last_epoch == "prune_only"
        return moment.ends_epoch if self.every == "epoch" else moment.step % self.every == 0

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
        return state, [self._rewired(layer, not moment.last, generator) for layer in layers]

    def _rewired(self, layer: "SparseLayer", regrow: bool, generator: torch.Generator) -> Rewired | None:
        before = layer.connections
        if before.nnz == before.total:
            return None
        kept = before.kept(removed_by_sign(layer.values.detach().cpu(), self.fraction))
        count = before.nnz - kept.nnz
        if count == 0:
            return None
        grown = kept.sample_absent(count if regrow else 0, generator)
        return Rewired(kept.grown(grown), grown, self._values(grown.numel(), generator))

    def _values(self, count: int, generator: torch.Generator) -> Tensor:
        if self.grown == "zero":
            return torch.zeros(count)
        return GROWN_DEVIATION * torch.randn(count, generator=generator)


def removed_by_sign(values: Tensor, fraction: float) -> Tensor:
    """bool [nnz]: the share `fraction`, rounded down, of each sign that is nearest 0, and every value that is 0.

    values  [nnz]  on ties the lower position goes first
    """
    numbers = (values if values.dtype is torch.float64 else values.float()).contiguous().numpy()
    # The decimal that was written: the float nearest .29 is below it and would take 28 of 100.
    share = Fraction(str(fraction))
    positive, negative = (math.floor(share * int(np.count_nonzero(sign))) for sign in (numbers > 0, numbers < 0))
    removed = np.empty(numbers.size, np.bool_)
    nearest_zero(numbers.view(f"u{numbers.itemsize}"), 8 * numbers.itemsize, positive, negative, removed)
    return torch.from_numpy(removed)
