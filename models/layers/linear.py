"""A fully connected layer with active and absent connections."""

import torch
from torch import Tensor

from models.connections import Connections
from models.layers.sparse import SparseLayer
from models.types import Storage


class SparseLinear(SparseLayer):
    """`nn.Linear` with round(density * in * out) connections, uniformly random unless given.

    Starts with He normal weights on the active fan-in and biases 0.

    x  [*, in_features] -> [*, out_features]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        density: float = 1.0,
        bias: bool = True,
        storage: Storage = "auto",
        generator: torch.Generator | None = None,
        connections: Connections | None = None,
    ) -> None:
        super().__init__((out_features, in_features), density, bias, storage, generator, connections)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.stored.linear(x, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, nnz={self.connections.nnz}, bias={self.bias is not None}"
