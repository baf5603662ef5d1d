"""What a rewiring is: a pure decision over the whole network, taken at a moment of the training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor

from models.connections import Connections

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer

State: TypeAlias = Any
"""What a rewiring remembers: a frozen value of plain numbers and tensors that travels in the checkpoint, or None."""


@dataclass(frozen=True)
class Moment:
    """A point of the training, after `step` of `steps` optimizer steps.

    epoch       number of the epoch this step belongs to, from 1
    ends_epoch  the step was the epoch's last
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    ends_epoch: bool

    @property
    def last(self) -> bool:
        return self.step == self.steps


@dataclass(frozen=True, eq=False)
class Rewired:
    """One layer after a rewiring.

    connections  after it
    grown        int64 [g]  positions of the new connections, ascending; a position that was removed and grown again at
                            the same moment is new, not a survivor
    values       [g]        their weights, in the same order
    """

    connections: Connections
    grown: Tensor
    values: Tensor

    @cached_property
    def survivors(self) -> Tensor:
        """int64 [nnz - g]: positions of the connections that stayed, ascending."""
        stayed = torch.ones(self.connections.nnz, dtype=torch.bool)
        stayed[torch.searchsorted(self.connections.positions, self.grown)] = False
        return self.connections.positions[stayed]


class Rewiring(Protocol):
    """Drops and grows connections while the network learns. Pure: it reads layers and changes none."""

    def due(self, moment: Moment) -> bool:
        """Whether to rewire now."""
        ...

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        """The state before the first step."""
        ...

    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        """The state after, and for each layer its connections after, or None where it stays as it is."""
        ...
