"""The compressed storage: the active weights alone, computed with by Numba. The form for CPUs."""

import torch
from torch import Tensor, nn

from models.connections import Connections, places
from models.kernels.structure import Structure
from models.layers.sparse_arithmetic import Geometry, convolve, multiply


class Compressed(nn.Module):
    """Weights of one sparse layer: a parameter of the active ones, and where they are.

    values     [nnz]  the parameter, in position order
    structure  places of the values, by rows and, once a gradient has asked for it, by columns
    """

    values: nn.Parameter

    def __init__(self, connections: Connections, parameter: nn.Parameter | None = None) -> None:
        """parameter  one to use from now on, whatever its shape was"""
        super().__init__()
        parameter = nn.Parameter(torch.zeros(0)) if parameter is None else parameter
        parameter.data = torch.zeros(connections.nnz, dtype=parameter.dtype, device=parameter.device)
        self.values = parameter
        self._connect(connections)

    @property
    def connections(self) -> Connections:
        return Connections(self._shape, self._positions())

    @property
    def parameter(self) -> nn.Parameter:
        return self.values

    def linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        if x.dim() == 1:
            return self.linear(x.unsqueeze(0), bias).squeeze(0)
        y = multiply(x.reshape(-1, x.shape[-1]), self.values, bias, self.structure)
        if x.dim() == 2:
            return y
        unflattened: Tensor = y.unflatten(0, x.shape[:-1])  # type: ignore[no-untyped-call]
        return unflattened

    def conv2d(
        self,
        x: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int] | str,
        dilation: tuple[int, int],
    ) -> Tensor:
        if x.dim() == 3:
            return self.conv2d(x.unsqueeze(0), bias, stride, padding, dilation).squeeze(0)
        return convolve(x, self.values, bias, self.structure, Geometry.of(self._shape, x, stride, padding, dilation))

    def gather(self, state: Tensor, positions: Tensor | None = None) -> Tensor:
        return state if positions is None else state.index_select(0, places(self._positions(), positions))

    def scatter(self, values: Tensor, elsewhere: Tensor | float, positions: Tensor | None = None) -> Tensor:
        if positions is None:
            return values
        state = torch.empty(self.structure.nnz, dtype=values.dtype)
        if isinstance(elsewhere, Tensor):
            state.copy_(elsewhere)
        else:
            state.fill_(elsewhere)
        return state.index_copy_(0, places(self._positions(), positions), values)

    def replace(self, connections: Connections, values: Tensor) -> None:
        self._connect(connections)
        self.values.data = values.detach().to(self.values, copy=True)
        self.values.grad = None  # one by other connections

    def weight(self) -> Tensor:
        dense = torch.zeros(self._total, dtype=self.values.dtype)
        return dense.index_put((self._positions(),), self.values).view(self._shape)

    def count_active(self) -> int:
        return int(self.structure.starts[-1])

    def _positions(self) -> Tensor:
        return torch.from_numpy(self.structure.positions())

    def _connect(self, connections: Connections) -> None:
        self._shape, self._total = connections.shape, connections.total
        self.structure = Structure.of(connections.positions.numpy(), connections.shape)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        """Nothing: the layer saves what is stored here."""

    def _load_from_state_dict(self, *arguments: object) -> None:
        """Nothing: the layer loads it."""
