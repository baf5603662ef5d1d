"""The masked storage: a dense weight and a mask. The reference, and the form for GPUs."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.connections import Connections
from models.layers.layout import is_batch_innermost


class Masked(nn.Module):
    """Weights of one sparse layer, kept dense.

    dense      [*shape]      the parameter; what lies outside the mask never shows
    mask       [*shape]      1 where active, of the weight's type so that one product applies it; None where all are
    positions  int64 [nnz]   of the active weights, on the weight's device
    """

    dense: nn.Parameter
    mask: Tensor | None
    positions: Tensor

    def __init__(self, connections: Connections, parameter: nn.Parameter | None = None) -> None:
        """parameter  one to use from now on, whatever its shape was"""
        super().__init__()
        parameter = nn.Parameter(torch.zeros(0)) if parameter is None else parameter
        parameter.data = torch.zeros(connections.shape, dtype=parameter.dtype, device=parameter.device)
        self.dense = parameter
        self._connect(connections)

    @property
    def connections(self) -> Connections:
        return self._connections

    @property
    def parameter(self) -> nn.Parameter:
        return self.dense

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if x.dim() == 2 and is_batch_innermost(x):
            # What comes out lies as what came in, so that a compressed layer after this one copies nothing.
            product = self.weight() @ x.t()
            return (product if bias is None else product + bias.unsqueeze(1)).t()
        return functional.linear(x, self.weight(), bias)

    def conv2d(
        self,
        x: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
    ) -> Tensor:
        return functional.conv2d(x, self.weight(), bias, stride, padding, dilation)

    def gather(self, state: Tensor, positions: Tensor | None = None) -> Tensor:
        return state.reshape(-1).index_select(0, self._here(positions))

    def scatter(self, values: Tensor, elsewhere: Tensor | float, positions: Tensor | None = None) -> Tensor:
        state = torch.empty(self.dense.shape, dtype=values.dtype, device=values.device)
        if isinstance(elsewhere, Tensor):
            state.copy_(elsewhere)
        else:
            state.fill_(elsewhere)
        state.view(-1)[self._here(positions)] = values
        # The weight may be channels-last, and fused optimizers walk weight and state side by side through memory.
        return state if self.dense.is_contiguous() else torch.empty_like(self.dense, dtype=values.dtype).copy_(state)

    def replace(self, connections: Connections, values: Tensor) -> None:
        self._connect(connections)
        with torch.no_grad():
            self.dense.copy_(self.scatter(values.to(self.dense), 0.0))

    def weight(self) -> Tensor:
        return self.dense if self.mask is None else self.dense * self.mask

    def count_active(self) -> int:
        return self.dense.numel() if self.mask is None else int(self.mask.count_nonzero())

    def _here(self, positions: Tensor | None) -> Tensor:
        return self.positions if positions is None else positions.to(self.dense.device)

    def _connect(self, connections: Connections) -> None:
        full = connections.nnz == connections.total
        self._connections = connections
        # Not persistent: the layer's state holds connections and values, whatever the storage.
        self.register_buffer("positions", connections.positions.to(self.dense.device), persistent=False)
        self.register_buffer("mask", None if full else connections.mask().to(self.dense), persistent=False)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Nothing: the layer saves what is stored here."""

    def _load_from_state_dict(self, *arguments: object) -> None:
        """Nothing: the layer loads it."""
