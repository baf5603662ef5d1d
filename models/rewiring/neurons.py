"""Hidden neurons of fully connected layers: which there are, what they are worth, and connections among some alone."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.connections import Connections

if TYPE_CHECKING:
    from models.layers.sparse import SparseLayer


def hidden_layers(shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """The layers whose every output is one input of the next: both are fully connected.

    shapes  of the weights, from input to output
    """
    return [
        number
        for number, (own, after) in enumerate(pairwise(shapes))
        if len(own) == len(after) == 2 and own[0] == after[1]
    ]


def strength_in(layer: "SparseLayer") -> Tensor:
    """float64 [out]: the sum of the magnitudes of the weights into each neuron of the layer."""
    rows, width = layer.connections.shape[0], layer.connections.total // layer.connections.shape[0]
    return torch.zeros(rows, dtype=torch.float64).index_add_(0, layer.connections.positions // width, _weights(layer))


def strength_out(layer: "SparseLayer") -> Tensor:
    """float64 [in]: the sum of the magnitudes of the weights out of each neuron before the layer, a linear one."""
    width = layer.connections.shape[1]
    return torch.zeros(width, dtype=torch.float64).index_add_(0, layer.connections.positions % width, _weights(layer))


def _weights(layer: "SparseLayer") -> Tensor:
    return layer.values.detach().abs().double().cpu()


class Block:
    """The part of a weight tensor between living neurons.

    rows     bool [out]   the living ones of the layer
    columns  bool [rest]  those of the layer before: of the flattened dimensions after the first
    """

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self._rows, self._columns = rows, columns
        self._row_numbers, self._column_numbers = rows.nonzero().flatten(), columns.nonzero().flatten()

    @property
    def width(self) -> int:
        return len(self._column_numbers)

    @property
    def total(self) -> int:
        return len(self._row_numbers) * self.width

    def holds(self, connections: Connections) -> Tensor:
        """bool [nnz]: whether a connection runs between living neurons."""
        width = len(self._columns)
        return self._rows[connections.positions // width] & self._columns[connections.positions % width]

    def sample_absent(self, connections: Connections, count: int, generator: torch.Generator) -> Tensor:
        """int64 [count]: as `Connections.sample_absent`, between living neurons alone; all of `connections` are.

        Raises: ValueError where fewer than `count` are absent.
        """
        width, narrow = len(self._columns), self.width
        rows, columns = ((alive.cumsum(0) - 1) for alive in (self._rows, self._columns))
        positions = rows[connections.positions // width] * narrow + columns[connections.positions % width]
        drawn = Connections((len(self._row_numbers), narrow), positions).sample_absent(count, generator)
        return self._row_numbers[drawn // narrow] * width + self._column_numbers[drawn % narrow]
