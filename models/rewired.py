"""What a rewiring decides for one layer."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from models.connections import Connections
from models.kernels import positions as kernels


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

    @property
    def survivors(self) -> Tensor:
        """int64 [nnz - g]: positions of the connections that stayed, ascending."""
        return self._divided[0]

    @property
    def places(self) -> tuple[Tensor, Tensor]:
        """int64 [nnz - g] and [g]: where the survivors, and where the grown ones, stand among the connections."""
        return self._divided[1:]

    @cached_property
    def _divided(self) -> tuple[Tensor, Tensor, Tensor]:
        stayed = self.connections.nnz - self.grown.numel()
        survivors, here = torch.empty(stayed, dtype=torch.int64), torch.empty(stayed, dtype=torch.int64)
        there = torch.empty_like(self.grown)
        arrays = (tensor.numpy() for tensor in (self.connections.positions, self.grown, survivors, there, here))
        kernels.divide(*arrays)
        return survivors, here, there
