"""Where the active weights of one tensor are, and the orders in which products want to know it."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.kernels.blocks import WINDOW, Columns, Rows, by_columns, by_rows, count_for_columns, count_for_rows
from models.kernels.compiled import kernel

LARGEST = np.iinfo(np.int32).max

TRAINING, EVALUATION, STEPS = "training", "evaluation", "steps"
"""What asks for products: batches of a training, of an evaluation, and the sequences of one step of a recurrence."""

Indices = NDArray[np.int32]
Starts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Structure:
    """The active weights output by output: those of a matrix [outputs, width], width = inputs * area.

    area    places of a kernel: 1 in a fully connected layer, height * width in a convolution
    starts  int64 [outputs + 1]  of each row within `padded`
    padded  int32 [nnz + 1]      columns, ascending within a row, and one number more
    """

    area: int
    width: int
    starts: Starts
    padded: Indices
    _rows: dict[str, Rows] = field(default_factory=dict, init=False, repr=False)
    _columns: dict[str, Columns] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, positions: NDArray[np.int64], shape: tuple[int, ...]) -> "Structure":
        """positions  int64 [nnz]  flat, row-major, ascending

        Raises: ValueError for rows wider, or with more active weights, than 32 bits can count.
        """
        outputs, inputs, *kernel_size = shape
        area = prod(kernel_size)
        if max(inputs * area, outputs * area, positions.size) > LARGEST:
            raise ValueError(f"shape {shape} with {positions.size} active weights is not allowed; at most {LARGEST}")
        starts, padded = np.empty(outputs + 1, np.int64), np.zeros(positions.size + 1, np.int32)
        _compress(positions, inputs * area, starts, padded)
        return cls(area, inputs * area, starts, padded)

    @property
    def outputs(self) -> int:
        return self.starts.size - 1

    @property
    def nnz(self) -> int:
        return self.padded.size - 1

    @property
    def columns(self) -> Indices:
        """int32 [nnz]: ascending within a row."""
        return self.padded[:-1]

    def positions(self) -> NDArray[np.int64]:
        """int64 [nnz]: flat, row-major, ascending."""
        positions = np.empty(self.nnz, np.int64)
        _flatten(self.starts, self.padded, self.width, positions)
        return positions

    @cached_property
    def plain(self) -> Rows:
        """Row after row."""
        return Rows(self.starts, self.padded, self.starts[:-1], np.arange(self.outputs, dtype=np.int32))

    @cached_property
    def transposed(self) -> Columns:
        """A matrix [inputs, outputs * area], input after input."""
        return by_columns(self.starts, self.padded, self.width // self.area, self.area, 1, 1)

    @property
    def nbytes(self) -> int:
        """With all orders made so far."""
        orders = [vars(self)[name] for name in ("plain", "transposed") if name in vars(self)]
        orders += [*self._rows.values(), *self._columns.values()]
        arrays = [self.starts, self.padded, *(array for order in orders for array in order)]
        # Some are the same, or a part of another.
        return sum({array.ctypes.data: array.nbytes for array in sorted(arrays, key=len)}.values())

    def by_rows(self, batch: int, itemsize: int, use: str = TRAINING) -> Rows:
        """For products with as large a batch, of numbers of so many bytes; right for any.

        use  what asks: each keeps what its largest batch asked for, as a last, smaller one is not worth another order;
             nor is an evaluation, once there is that of a training
        """
        if use == EVALUATION and TRAINING in self._rows:
            return self._rows[TRAINING]
        blocks = count_for_rows(self.outputs, self.width, self.nnz, batch, itemsize)
        kept = len(self._rows[use].rows) // self.outputs if use in self._rows else 0
        if blocks == kept == 0:
            return self.plain
        if blocks > kept:
            same = [rows for rows in self._rows.values() if len(rows.rows) == blocks * self.outputs]
            self._rows[use] = same[0] if same else by_rows(self.starts, self.padded, self.width, blocks)
        return self._rows[use]

    def by_columns(self, batch: int, itemsize: int) -> Columns:
        """The same of the transpose, for training; of a fully connected layer."""
        blocks = count_for_columns(self.outputs, self.width, self.nnz, batch, itemsize)
        kept = len(self._columns[TRAINING].columns) // self.width if TRAINING in self._columns else 0
        if blocks == kept == 0:
            return self.transposed
        if blocks > kept:
            self._columns[TRAINING] = by_columns(self.starts, self.padded, self.width, 1, blocks, WINDOW)
        return self._columns[TRAINING]


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
