"""No rewiring: the connections stay where the topology put them (FixProb in the SET papers)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from models.rewiring.rewiring import Moment, Rewired, Rewiring, State
from models.types import setting

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


@setting
class Static(Rewiring):
    kind: Literal["static"] = "static"

    def due(self, moment: Moment) -> bool:
        del moment
        return False

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        del moment, generator
        return state, [None for _ in layers]
