"""A two-dimensional convolution with active and absent connections."""

import torch
from torch import Tensor

from models.connections import Connections
from models.layers.sparse import SparseLayer
from models.types import Storage

Pair = int | tuple[int, ...]


class SparseConv2d(SparseLayer):
    """`nn.Conv2d` (zero padding, one group) with round(density * total) connections, uniformly random unless given.

    Starts with He normal weights on the active fan-in and biases 0.

    x  [batch, in_channels, height, width] -> [batch, out_channels, height', width']
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        *,
        bias: bool = True,
        density: float = 1.0,
        storage: Storage = "auto",
        generator: torch.Generator | None = None,
        connections: Connections | None = None,
    ) -> None:
        shape = (out_channels, in_channels, *_pair(kernel_size))
        super().__init__(shape, density, bias, storage, generator, connections)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        self.dilation = _pair(dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.stored.conv2d(x, self.bias, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, nnz={self.connections.nnz}, "
            f"bias={self.bias is not None}"
        )


def _pair(value: Pair) -> tuple[int, int]:
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal
