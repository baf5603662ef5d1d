"""What a rewiring is: a pure decision over the whole network, taken at a moment of the training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch

from models.rewired import Rewired as Rewired

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
