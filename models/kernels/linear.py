"""A sparse matrix times a batch of vectors, its transpose, and the gradient of its values. Batch innermost.

matrix  the connections, `Rows` or `Columns`
values  [nnz]  in row order, or where the matrix says
x, dx   [width, batch]
y, dy   [rows, batch]

One connection is one multiplication of a row of x, and what it costs is to read that row. So sums stay in registers,
tile by tile of the batch, and features are taken block by block, such that the rows of x in use stay in the cache.
"""

from typing import Any

import numpy as np

from models.kernels.blocks import Columns, Rows, tile
from models.kernels.compiled import kernel
from models.kernels.linear_rows import accumulate, differentiate, scatter
from models.kernels.linear_rows import correlate as correlate_rows
from models.kernels.vectors import LINE

Array = np.ndarray[Any, Any]


@kernel
def multiply(matrix: Rows, values: Array, x: Array, bias: Array, y: Array) -> None:
    """y = W x, plus bias[:, None] unless it is empty."""
    _multiply((matrix.starts, matrix.rows), matrix.columns, matrix.places, None, values, x, bias, y)


@kernel
def multiply_transposed(matrix: Columns, values: Array, dy: Array, dx: Array) -> None:
    """dx = W^T dy, by columns."""
    _multiply((matrix.starts, matrix.columns), matrix.rows, None, matrix.order, values, dy, values[:0], dx)


@kernel
def multiply_transposed_by_rows(matrix: Rows, values: Array, dy: Array, dx: Array) -> None:
    """dx = W^T dy by rows: needs nothing by columns, but reads and writes dx for each connection.

    The faster one where dx is larger than the cache; the same bits if the matrix lies row after row.
    """
    line = LINE // dy.itemsize
    if dy.shape[1] < line:
        wider = np.empty((dx.shape[0], line), dx.dtype)
        _scatter(matrix, values, _padded(dy, line), wider)
        _narrow(wider, dx)
    else:
        _scatter(matrix, values, dy, dx)


@kernel
def correlate(matrix: Rows, x: Array, dy: Array, grad: Array) -> None:
    """grad[p] = <dy[row of p], x[column of p]>."""
    rows, batch = dy.shape
    line = LINE // x.itemsize
    if batch < line:
        x, dy, batch = _padded(x, line), _padded(dy, line), line
    starts, columns, places, owners = matrix
    aligned = _worth_aligning(x, columns.size)
    done = 0
    while done < batch:
        wide = tile(batch - done, line)
        first = min(done, batch - wide * line)
        source, target = (x.reshape(-1), first, batch), (dy.reshape(-1), first, batch)
        if aligned:
            source = _aligned(x, first, wide * line), 0, wide * line
        for piece in range(0, places.size, max(1, rows)):
            block, skip = (starts, owners, piece, rows), done - first
            correlate_rows(wide, block, columns, places, source, target, done == 0, skip, grad)
        done = first + wide * line


@kernel
def gradients(matrix: Columns, values: Array, x: Array, dy: Array, dx: Array, grad: Array) -> None:
    """dx as `multiply_transposed` has it, and grad as `correlate` has it but for rounding; in less time than both."""
    line = LINE // x.itemsize
    if x.shape[1] < line:
        wider = np.empty((dx.shape[0], line), dx.dtype)
        _differentiate(matrix, values, _padded(x, line), _padded(dy, line), wider, grad)
        _narrow(wider, dx)
    else:
        _differentiate(matrix, values, x, dy, dx, grad)


@kernel
def _differentiate(matrix: Columns, values: Array, x: Array, dy: Array, dx: Array, grad: Array) -> None:
    width, batch = dx.shape
    line = LINE // x.itemsize
    starts, rows, order, owners = matrix
    aligned = _worth_aligning(dy, order.size)
    done = 0
    while done < batch:
        wide = tile(batch - done, line)
        first = min(done, batch - wide * line)
        source, fixed, target = (
            (dy.reshape(-1), first, batch),
            (x.reshape(-1), first, batch),
            (dx.reshape(-1), first, batch),
        )
        if aligned:
            source = _aligned(dy, first, wide * line), 0, wide * line
        for piece in range(0, owners.size, max(1, width)):
            block, fresh, skip = (starts, owners, piece, width), piece == 0, done - first
            differentiate(wide, block, rows, order, values, source, fixed, fresh, target, done == 0, skip, grad)
        done = first + wide * line


@kernel
def _multiply(
    pieces: tuple[Array, Array], columns: Array, places: Any, order: Any, values: Array, x: Array, bias: Array, y: Array
) -> None:
    line = LINE // x.itemsize
    if y.shape[1] < line:
        wider = np.empty((y.shape[0], line), y.dtype)
        _accumulate(pieces, columns, places, order, values, _padded(x, line), bias, wider)
        _narrow(wider, y)
    else:
        _accumulate(pieces, columns, places, order, values, x, bias, y)


@kernel
def _accumulate(
    pieces: tuple[Array, Array], columns: Array, places: Any, order: Any, values: Array, x: Array, bias: Array, y: Array
) -> None:
    """One of places, of a piece's values, and order, each value's own, is None."""
    rows, batch = y.shape
    line = LINE // x.itemsize
    aligned = _worth_aligning(x, columns.size)
    done = 0
    while done < batch:
        wide = tile(batch - done, line)
        # The last tile may cover numbers that the one before it has done: they come out the same.
        first = min(done, batch - wide * line)
        source, target = (x.reshape(-1), first, batch), (y.reshape(-1), first, batch)
        if aligned:
            source = _aligned(x, first, wide * line), 0, wide * line
        for piece in range(0, pieces[1].size, max(1, rows)):
            block, fresh, added = (*pieces, piece, rows), piece == 0, (bias, bias.size > 0)
            accumulate(wide, block, columns, places, order, values, source, fresh, added, target)
        done = first + wide * line


@kernel
def _scatter(matrix: Rows, values: Array, dy: Array, dx: Array) -> None:
    rows, batch = dy.shape
    line = LINE // dy.itemsize
    starts, columns, places, owners = matrix
    done = 0
    while done < batch:
        wide = tile(batch - done, line)
        first = min(done, batch - wide * line)
        dx[:, first : first + wide * line] = 0
        source, target = (dy.reshape(-1), first, batch), (dx.reshape(-1), first, batch)
        for piece in range(0, places.size, max(1, rows)):
            scatter(wide, (starts, owners, piece, rows), columns, places, values, source, target)
        done = first + wide * line


@kernel
def _worth_aligning(x: Array, nnz: int) -> bool:
    """Whether vectors of x lie across two cache lines, and each is read so often that copying x first pays."""
    return (x.ctypes.data % LINE != 0 or x.strides[0] % LINE != 0) and nnz > 32 * x.shape[0]


@kernel
def _aligned(x: Array, first: int, count: int) -> Array:
    """A copy of x[:, first : first + count], flat, that begins where a cache line does."""
    line = LINE // x.itemsize
    space = np.empty(x.shape[0] * count + line, x.dtype)
    skip = -space.ctypes.data % LINE // x.itemsize
    result = space[skip : skip + x.shape[0] * count]
    flat = x.reshape(-1)
    for feature in range(x.shape[0]):
        for n in range(0, count, line):
            source, target = feature * x.shape[1] + first + n, feature * count + n
            for k in range(line):
                result[target + k] = flat[source + k]
    return result


@kernel
def _padded(x: Array, count: int) -> Array:
    """x and zeros: [width, count]."""
    result = np.zeros((x.shape[0], count), x.dtype)
    for feature in range(x.shape[0]):
        for n in range(x.shape[1]):
            result[feature, n] = x[feature, n]
    return result


@kernel
def _narrow(wider: Array, y: Array) -> None:
    """y = wider[:, : batch]."""
    for row in range(y.shape[0]):
        for n in range(y.shape[1]):
            y[row, n] = wider[row, n]
