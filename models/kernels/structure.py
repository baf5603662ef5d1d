"""Where the active weights of one tensor are: compressed rows, and on request the same by columns."""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel
from models.kernels.linear import blocks

LARGEST = np.iinfo(np.int32).max

Indices = NDArray[np.int32]
Starts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Transposed:
    """The active weights input by input: those of a matrix [inputs, outputs * area].

    starts   int64 [inputs + 1]  of each row within the two below
    columns  int32 [nnz]         ascending within a row
    order    int32 [nnz]         place of the same weight in the order of `Structure`
    """

    width: int
    starts: Starts
    columns: Indices
    order: Indices

    @cached_property
    def blocks(self) -> Starts:
        """The starts as multiplication wants them."""
        return blocks(self.starts, self.columns, self.width)


@dataclass(frozen=True, eq=False)
class Structure:
    """The active weights output by output: those of a matrix [outputs, width], width = inputs * area.

    area     places of a kernel: 1 in a fully connected layer, height * width in a convolution
    starts   int64 [outputs + 1]  of each row within `columns`
    columns  int32 [nnz]          ascending within a row
    """

    area: int
    width: int
    starts: Starts
    columns: Indices

    @classmethod
    def of(cls, positions: NDArray[np.int64], shape: tuple[int, ...]) -> "Structure":
        """positions  int64 [nnz]  flat, row-major, ascending

        Raises: ValueError for rows wider, or with more active weights, than 32 bits can count.
        """
        outputs, inputs, *kernel_size = shape
        area = prod(kernel_size)
        if max(inputs * area, outputs * area, positions.size) > LARGEST:
            raise ValueError(f"shape {shape} with {positions.size} active weights is not allowed; at most {LARGEST}")
        starts, columns = np.empty(outputs + 1, np.int64), np.empty(positions.size, np.int32)
        _compress(positions, inputs * area, starts, columns)
        return cls(area, inputs * area, starts, columns)

    @property
    def outputs(self) -> int:
        return self.starts.size - 1

    @property
    def nnz(self) -> int:
        return self.columns.size

    def positions(self) -> NDArray[np.int64]:
        """int64 [nnz]: flat, row-major, ascending."""
        positions = np.empty(self.nnz, np.int64)
        _flatten(self.starts, self.columns, self.width, positions)
        return positions

    @cached_property
    def blocks(self) -> Starts:
        """The starts as multiplication wants them."""
        return blocks(self.starts, self.columns, self.width)

    @cached_property
    def transposed(self) -> Transposed:
        starts = np.zeros(self.width // self.area + 1, np.int64)
        columns, order = np.empty_like(self.columns), np.empty_like(self.columns)
        _transpose(self.starts, self.columns, self.area, starts, columns, order)
        return Transposed(self.outputs * self.area, starts, columns, order)


@kernel
def _compress(positions: NDArray[np.int64], width: int, starts: Starts, columns: Indices) -> None:
    row = 0
    starts[0] = 0
    for p in range(positions.size):
        while positions[p] >= (row + 1) * width:
            row += 1
            starts[row] = p
        columns[p] = positions[p] - row * width
    starts[row + 1 :] = positions.size


@kernel
def _flatten(starts: Starts, columns: Indices, width: int, positions: NDArray[np.int64]) -> None:
    for row in range(starts.size - 1):
        for p in range(starts[row], starts[row + 1]):
            positions[p] = row * width + columns[p]


@kernel
def _transpose(
    starts: Starts, columns: Indices, area: int, starts_t: Starts, columns_t: Indices, order: Indices
) -> None:
    """Counts the weights of each input, then deals them out: two passes, whatever the order of columns."""
    for column in columns:
        starts_t[column // area + 1] += 1
    for row in range(starts_t.size - 1):
        starts_t[row + 1] += starts_t[row]
    for row in range(starts.size - 1):
        for p in range(starts[row], starts[row + 1]):
            source = columns[p] // area
            place = starts_t[source]
            columns_t[place], order[place] = row * area + columns[p] - source * area, p
            starts_t[source] = place + 1
    # Each start has moved on to the next one's place.
    for row in range(starts_t.size - 1, 0, -1):
        starts_t[row] = starts_t[row - 1]
    starts_t[0] = 0
