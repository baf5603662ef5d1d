"""What a rewiring is: a pure decision over the whole network, taken at a moment of the training."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from models.rewired import Rewired as Rewired

if TYPE_CHECKING:
    from models.dense_gradient import DenseGradient
    from models.layers.sparse import SparseLayer

State: TypeAlias = Any
"""What a rewiring remembers: a frozen value of plain numbers and tensors that travels in the checkpoint, or None."""


@dataclass(frozen=True)
class Moment:
    """A point of the training, after `step` of `steps` optimizer steps.

    epoch       number of the epoch this step belongs to, from 1
    ends_epoch  the step was the epoch's last
    counts      connections asked of each layer of the whole training
    gradients   of this step's batch, by each layer's dense weight; where the rewiring `observes` this moment
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    ends_epoch: bool
    counts: tuple[int, ...] = ()
    gradients: "Sequence[DenseGradient] | None" = field(default=None, compare=False, repr=False)

    @property
    def last(self) -> bool:
        return self.step == self.steps

    @property
    def watched(self) -> "Sequence[DenseGradient]":
        """The gradients, which the rewiring has asked for."""
        assert self.gradients is not None
        return self.gradients


Asked: TypeAlias = tuple[int, ...] | int
"""Connections of each layer; or of all together, where a rewiring shares them out over the layers itself."""


class Rewiring(ABC):
    """Drops and grows connections while the network learns. Pure: it reads layers and changes none.

    When, and which, every rewiring says itself; the rest it says where it differs from what is here.
    """

    @abstractmethod
    def due(self, moment: Moment) -> bool:
        """Whether to rewire now."""

    def starting(self, totals: tuple[int, ...], counts: tuple[int, ...]) -> tuple[int, ...]:
        """The connections there are before the first step: those asked, unless it says others.

        totals  weights of each layer, active or not
        """
        del totals
        return counts

    def start(self, layers: Sequence["SparseLayer"]) -> State:
        """The state before the first step: None, where nothing is remembered."""
        return None

    def observes(self, moment: Moment) -> bool:
        """Whether it needs the dense gradients of this step. A step not observed costs nothing more than without."""
        return False

    def observe(self, state: State, moment: Moment) -> State:
        """The state after a step that is observed, before any rewiring at this moment."""
        return state

    def learns(self, moment: Moment) -> bool:
        """Whether the optimizer takes the step; no only where it is observed, and the rewiring takes its place."""
        return True

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: State) -> Asked:
        """The connections there must be after this moment: those there were asked at the start, unless it says others.

        The live layers are counted, and a training where they differ fails.

        counts   asked of each layer of the whole training
        rewired  what was decided at this moment, and the state after it
        """
        return counts

    @abstractmethod
    def __call__(
        self, state: State, layers: Sequence["SparseLayer"], moment: Moment, generator: torch.Generator
    ) -> tuple[State, list[Rewired | None]]:
        """The state after, and for each layer its connections after, or None where it stays as it is."""
