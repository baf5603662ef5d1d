"""A table of features of symbols, some of whose entries are absent."""

import torch
from torch import Tensor
from torch.nn import functional

from models.connections import Connections
from models.layers.sparse import SparseLayer
from models.types import Storage

BOUND = 0.1  # of the first values, as in AWD-LSTM


class SparseEmbedding(SparseLayer):
    """`nn.Embedding` with round(density * symbols * features) connections, uniformly random unless given.

    Values start uniform in ±.1 (Merity, Keskar and Socher 2018, arXiv 1708.02182).

    codes  int64 [*] -> [*, features]
    """

    def __init__(
        self,
        symbols: int,
        features: int,
        density: float = 1.0,
        storage: Storage = "auto",
        generator: torch.Generator | None = None,
        connections: Connections | None = None,
    ) -> None:
        super().__init__((symbols, features), density, False, storage, generator, connections)
        self.assign(torch.empty(self.connections.nnz).uniform_(-BOUND, BOUND, generator=generator))

    def forward(self, codes: Tensor) -> Tensor:
        return functional.embedding(codes, self.weight)
