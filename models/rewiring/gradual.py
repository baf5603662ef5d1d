"""Gradual magnitude pruning: the network thins along a cubic while it learns. Zhu and Gupta 2017, arXiv 1710.01878."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from models.rewiring.largest import Scope, keep_largest
from models.rewiring.period import Every, refuse_no_steps
from models.rewiring.pruning import Pruning, step_at
from models.rewiring.rewiring import Moment, Rewired
from models.types import Density, Momentum, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@setting
class Gradual(Pruning):
    """Starts dense; from the share `begin` of the steps to the share `end` the weights nearest 0 go, ever fewer.

    After `end` the counts are exactly those asked. What is gone never comes back: Zhu and Gupta's masked weights keep
    their last value and may, which their successors forbid by setting them to 0.

    every  "epoch", or the number of optimizer steps between two prunings, counted from `begin`; the last one is at
           `end` in either case
    scope  "layer": each layer follows the cubic to the count asked of it; "global": the network to their sum
    """

    kind: Literal["gradual"] = "gradual"
    begin: Momentum = 0.0
    end: Density = 0.75
    every: Every = "epoch"
    scope: Scope = "layer"

    def __post_init__(self) -> None:
        if self.begin >= self.end:
            raise ValueError(f"Gradual.begin: {self.begin} is not allowed; it must be less than end ({self.end})")
        refuse_no_steps("Gradual", self.every)

    @property
    def sparse_from(self) -> float:
        return self.end

    @property
    def compares(self) -> Scope:
        return self.scope

    def due(self, moment: Moment) -> bool:
        begin, end = self._window(moment.steps)
        if not begin <= moment.step <= end:
            return False
        regular = moment.ends_epoch if self.every == "epoch" else (moment.step - begin) % self.every == 0
        return regular or moment.step == end

    def prune(self, layers: Sequence["SparseLayer"], begun: tuple[int, ...], moment: Moment) -> list[Rewired | None]:
        begin, end = self._window(moment.steps)

        def remaining(first: int, last: int) -> int:
            return first - round(first * sparsity(moment.step, begin, end, 0.0, 1 - last / first))

        return keep_largest(layers, begun, moment.counts, remaining, self.scope)

    def _window(self, steps: int) -> tuple[int, int]:
        return math.floor(Fraction(str(self.begin)) * steps), step_at(self.end, steps)


def sparsity(step: int, begin: int, end: int, initial: float, final: float) -> float:
    """The share of absent weights after `step`: `initial` until `begin`, `final` from `end` on, a cubic between."""
    done = min(max((step - begin) / (end - begin), 0.0), 1.0)
    left = (1 - done) ** 3
    return initial * left + final * (1 - left)  # exact at both ends
