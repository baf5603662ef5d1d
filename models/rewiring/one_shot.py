"""One-shot magnitude pruning: train dense, keep the largest weights, train on. Alford et al. 2018 ("one-time")."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from models.rewiring.largest import Scope, keep_largest
from models.rewiring.pruning import Pruning, step_at
from models.rewiring.rewiring import Moment, Rewired
from models.types import Density, setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@setting
class OneShot(Pruning):
    """Starts dense; after the share `at` of the steps (1: after the last) the weights nearest 0 go, all at once.

    scope  "layer": each layer keeps as many as were asked of it; "global": the network as many as were asked in all
    """

    kind: Literal["one_shot"] = "one_shot"
    at: Density = 0.5
    scope: Scope = "layer"

    @property
    def sparse_from(self) -> float:
        return self.at

    @property
    def compares(self) -> Scope:
        return self.scope

    def due(self, moment: Moment) -> bool:
        return moment.step == step_at(self.at, moment.steps)

    def prune(self, layers: Sequence["SparseLayer"], begun: tuple[int, ...], moment: Moment) -> list[Rewired | None]:
        return keep_largest(layers, begun, moment.counts, lambda first, last: last, self.scope)
