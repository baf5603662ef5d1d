"""The order in which products go through connections: block of features by block, so that what they read stays near.

A *piece* is what one row has in one block, columns ascending; within a block pieces may come in any order. Where a
piece ends is a branch that a processor foresees only if the one before was as long: so pieces are ordered by length,
a few at a time, as their rows should be near each other too.
"""

from typing import Any, NamedTuple

import numpy as np

from models.kernels.compiled import kernel
from models.kernels.linear_loops import WIDEST
from models.kernels.vectors import LINE

Array = np.ndarray[Any, Any]

# Bytes of features whose block is in the first-level cache, with room for sums and values; and in the second-level one.
_NEAR, _FAR = 42 * 1024, 2 * 1024 * 1024

# Pieces that are ordered by length. Measured: from 32 to 128 it hardly matters.
WINDOW = 64


class Rows(NamedTuple):
    """A sparse matrix, piece by piece of its rows.

    starts   int64 [pieces + 1]  of each piece in `columns`
    columns  int32 [nnz + 1]     the last is no connection: products look one ahead
    places   int64 [pieces]      of each piece's first value; the others follow it
    rows     int32 [pieces]      whose it is: each row once in each block
    """

    starts: Array
    columns: Array
    places: Array
    rows: Array


class Columns(NamedTuple):
    """A sparse matrix, piece by piece of its columns.

    starts   int64 [pieces + 1]  of each piece in `rows` and `order`
    rows     int32 [nnz + 1]     the last is no connection
    order    int32 [nnz]         place of the same weight's value
    columns  int32 [pieces]      whose it is: each column once in each block
    """

    starts: Array
    rows: Array
    order: Array
    columns: Array


def count_for_rows(rows: int, width: int, nnz: int, batch: int, itemsize: int) -> int:
    """How many blocks of columns a matrix [rows, width] is best taken in; 0 where no other order is worth it."""
    lines = tile(batch, LINE // itemsize)
    near, far = -(-width * lines * LINE // _NEAR), -(-width * lines * LINE // _FAR)
    for blocks, enough in ((near, 2 + 32 // lines), (far, 5)):
        if blocks > 1 and nnz >= enough * rows * blocks:
            return blocks
    return 0


def count_for_columns(rows: int, width: int, nnz: int, batch: int, itemsize: int) -> int:
    """The same for its transpose and blocks of rows: each also has a cache line of values and one of gradients."""
    blocks = -(-rows * (tile(batch, LINE // itemsize) + 2) * LINE // _NEAR)
    return blocks if blocks > 1 and nnz >= 6 * width * blocks else 0


@kernel
def tile(left: int, line: int) -> int:
    """Vectors of the batch that are taken at a time where so many numbers are left: as many as are full, or one."""
    wide = WIDEST
    while wide > 1 and wide * line > left:
        wide //= 2
    return wide


@kernel
def by_rows(starts: Array, columns: Array, width: int, blocks: int) -> Rows:
    """starts [rows + 1] and columns [nnz + 1]: row after row."""
    rows, size = starts.size - 1, max(1, -(-width // blocks))
    lengths = np.zeros((blocks, rows), np.int64)
    for row in range(rows):
        for p in range(starts[row], starts[row + 1]):
            lengths[columns[p] // size, row] += 1
    pieces, owners = _ordered(lengths, WINDOW)
    laid, places = np.zeros_like(columns), np.empty(owners.size, np.int64)
    reached = starts[:-1].copy()
    for piece in range(owners.size):
        row = owners[piece]
        places[piece], length = reached[row], pieces[piece + 1] - pieces[piece]
        for k in range(length):
            laid[pieces[piece] + k] = columns[reached[row] + k]
        reached[row] += length
    return Rows(pieces, laid, places, owners)


@kernel
def by_columns(starts: Array, columns: Array, width: int, area: int, blocks: int, window: int) -> Columns:
    """The transpose of starts [rows + 1] and columns [nnz + 1].

    area    of a convolution's kernel: a matrix [rows, width * area] becomes [width, rows * area]
    window  pieces that are ordered by length, `WINDOW`; 1: column after column
    """
    rows = starts.size - 1
    size = max(1, -(-rows // blocks))
    lengths = np.zeros((blocks, width), np.int64)
    for row in range(rows):
        for p in range(starts[row], starts[row + 1]):
            lengths[row // size, columns[p] // area] += 1
    pieces, owners = _ordered(lengths, window)
    reached = np.empty_like(lengths)
    for piece in range(owners.size):
        reached[piece // width, owners[piece]] = pieces[piece]
    there, order = np.zeros_like(columns), np.empty(columns.size - 1, np.int32)
    for row in range(rows):
        for p in range(starts[row], starts[row + 1]):
            column = columns[p] // area
            place = reached[row // size, column]
            there[place], order[place] = row * area + columns[p] - column * area, p
            reached[row // size, column] = place + 1
    return Columns(pieces, there, order, owners)


@kernel
def _ordered(lengths: Array, window: int) -> tuple[Array, Array]:
    """Where each piece begins and whose it is, of lengths [blocks, owners]: ascending in each window."""
    blocks, count = lengths.shape
    owners, starts = np.empty(blocks * count, np.int32), np.zeros(blocks * count + 1, np.int64)
    for block in range(blocks):
        begin = block * count
        for owner in range(count):
            place = begin + owner
            first, length = begin + owner - owner % window, lengths[block, owner]
            while place > first and lengths[block, owners[place - 1]] > length:
                owners[place] = owners[place - 1]
                place -= 1
            owners[place] = owner
        for piece in range(begin, begin + count):
            starts[piece + 1] = starts[piece] + lengths[block, owners[piece]]
    return starts, owners
