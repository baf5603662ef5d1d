"""Iterative pruning by threshold: prune, retrain what is left, prune again. Han et al. 2015, arXiv 1506.02626."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from models.connections import top_k
from models.rewiring.largest import kept, magnitudes
from models.rewiring.pruning import Pruning
from models.rewiring.rewiring import Moment, Rewired
from models.types import Count, Density, NonNegative, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@setting
class Iterative(Pruning):
    """Starts dense; in `rounds` evenly spaced rounds, the last after the share `end` of the steps, weights go.

    A round removes from each layer every weight whose magnitude is below `quality` standard deviations of the layer's
    active weights, but leaves the largest as many as were asked. The last leaves exactly those.

    A reconstruction in two points: the paper takes the standard deviation of the trained dense layer, and lets the
    quality alone decide the final count. It also lowers learning rate and dropout as it retrains; here the job's
    schedule goes on.
    """

    kind: Literal["iterative"] = "iterative"
    quality: NonNegative = 1.0
    rounds: Count = 5
    end: Density = 0.75

    @property
    def sparse_from(self) -> float:
        return self.end

    def due(self, moment: Moment) -> bool:
        return moment.step in self._steps(moment.steps)

    def prune(self, layers: Sequence["SparseLayer"], begun: tuple[int, ...], moment: Moment) -> list[Rewired | None]:
        del begun
        last = moment.step == self._steps(moment.steps)[-1]
        pairs = zip(layers, moment.counts, strict=True)
        return [self._pruned(layer, asked, exactly=last) for layer, asked in pairs]

    def _pruned(self, layer: "SparseLayer", asked: int, exactly: bool) -> Rewired | None:
        found = magnitudes(layer)
        threshold = self.quality * float(layer.values.detach().double().std(correction=0))
        above = int((found >= threshold).sum())
        return kept(layer, top_k(found, asked if exactly else max(above, asked)))

    def _steps(self, steps: int) -> list[int]:
        end = Fraction(str(self.end)) * steps
        return [math.ceil(end * number / self.rounds) for number in range(1, self.rounds + 1)]
