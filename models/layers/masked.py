"""The masked storage: a dense weight and a mask. The reference, and the form for GPUs."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.connections import Connections

if TYPE_CHECKING:
    from models.rewiring.rewiring import Rewired


class Masked(nn.Module):
    """Weights of one sparse layer, kept dense. Every way to reach them that depends on this form is here.

    weight     [*shape]      the parameter; what lies outside the mask never shows
    mask       [*shape]      1 where active, of the weight's type so that one product applies it; None where all are
    positions  int64 [nnz]   of the active weights, on the weight's device
    """

    weight: nn.Parameter
    mask: Tensor | None
    positions: Tensor

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(connections.shape))
        self._connect(connections)

    @property
    def connections(self) -> Connections:
        return self._connections

    @property
    def parameter(self) -> nn.Parameter:
        return self.weight

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, self.masked(), bias)

    def conv2d(
        self,
        x: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
    ) -> Tensor:
        return functional.conv2d(x, self.masked(), bias, stride, padding, dilation)

    def gather(self, state: Tensor) -> Tensor:
        """[nnz]: what a tensor shaped like the parameter holds at the active weights."""
        return state.reshape(-1).index_select(0, self.positions)

    def scatter(self, active: Tensor, elsewhere: Tensor | float) -> Tensor:
        """A tensor shaped like the parameter: `active` [nnz] at the active weights, `elsewhere` at the others."""
        return self._scattered(self.positions, active, elsewhere)

    def carry(self, state: Tensor, rewired: "Rewired", initial: Tensor | float) -> Tensor:
        """`state` of the survivors, bit for bit, and `initial` at all other weights."""
        survivors = rewired.survivors.to(state.device)
        return self._scattered(survivors, state.reshape(-1).index_select(0, survivors), initial)

    def rewire(self, rewired: "Rewired") -> None:
        with torch.no_grad():
            values = self.carry(self.weight, rewired, 0.0).reshape(-1)
            values[rewired.grown.to(values.device)] = rewired.values.to(values)
            self.weight.copy_(values.view(self.weight.shape))
        self._connect(rewired.connections)

    def replace(self, connections: Connections, values: Tensor) -> None:
        """Other connections and their values; the parameter stays the same object."""
        self._connect(connections)
        with torch.no_grad():
            self.weight.copy_(self.scatter(values.to(self.weight), 0.0))

    def dense(self) -> Tensor:
        return self.scatter(self.gather(self.weight.detach()), 0.0)

    def count_active(self) -> int:
        return self.weight.numel() if self.mask is None else int(self.mask.count_nonzero())

    def masked(self) -> Tensor:
        return self.weight if self.mask is None else self.weight * self.mask

    def _scattered(self, positions: Tensor, values: Tensor, elsewhere: Tensor | float) -> Tensor:
        state = torch.empty(self.weight.shape, dtype=values.dtype, device=values.device)
        if isinstance(elsewhere, Tensor):
            state.copy_(elsewhere)
        else:
            state.fill_(elsewhere)
        state.view(-1)[positions] = values
        # The weight may be channels-last, and fused optimizers walk weight and state side by side through memory.
        return state if self.weight.is_contiguous() else torch.empty_like(self.weight, dtype=values.dtype).copy_(state)

    def _connect(self, connections: Connections) -> None:
        full = connections.nnz == connections.total
        self._connections = connections
        # Not persistent: the layer's state holds connections and values, whatever the storage.
        self.register_buffer("positions", connections.positions.to(self.weight.device), persistent=False)
        self.register_buffer("mask", None if full else connections.mask().to(self.weight), persistent=False)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Nothing: the layer saves what is stored here."""

    def _load_from_state_dict(self, *arguments: object) -> None:
        """Nothing: the layer loads it."""
