"""A sparse matrix times a batch of vectors, its transpose, and the gradient of its values. Batch innermost.

starts   int64 [rows + 1]  of each row within `columns`, or better what `blocks` makes of them
columns  int32 [nnz]       ascending within a row
values   [nnz]             in row order
x, dx    [width, batch]
y, dy    [rows, batch]

One connection is one multiplication of a row of x, and what it costs is to read that row. So sums stay in registers,
tile by tile of the batch, and features are taken block by block, such that the rows of x in use stay in the cache.
"""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel
from models.kernels.vectors import LINE, WIDEST, accumulate, prefetch, scatter
from models.kernels.vectors import correlate as correlate_row

Array = np.ndarray[Any, Any]

# Features of the smallest block: with a batch of 128 float32 its rows of x take 48 KB. Smaller ones would be read from
# the nearest cache alone, but then y is read and written too often. Measured: from 64 to 256 it hardly matters.
_BLOCK = 96

# Connections of a row within one block, on average, below which blocks cost more than they save, in memory and in time.
_ENOUGH = 8

# Bytes of x that are as good as in the nearest cache; bytes from which on the one behind it does not hold them.
_NEAR, _FAR = 64 * 1024, 2 * 1024 * 1024

# Rows ahead of the one at work whose connections are asked for: within a block they are not next to each other.
_AHEAD = 3


@kernel
def multiply(starts: Array, columns: Array, values: Array, x: Array, bias: Array, y: Array) -> None:
    """y = W x, plus bias[:, None] unless it is empty."""
    _multiply(starts, columns, None, values, x, bias, y)


@kernel
def multiply_transposed(starts: Array, rows: Array, order: Array, values: Array, dy: Array, dx: Array) -> None:
    """dx = W^T dy, by columns.

    starts  int64 [width + 1]  of each column within the two below, or what `blocks` makes of them
    rows    int32 [nnz]        ascending within a column
    order   int32 [nnz]        place of the same weight in `values`
    """
    _multiply(starts, rows, order, values, dy, values[:0], dx)


@kernel
def multiply_transposed_by_rows(starts: Array, columns: Array, values: Array, dy: Array, dx: Array) -> None:
    """dx = W^T dy, the same bits, by rows: needs nothing by columns, but reads and writes dx for each connection.

    The faster one where dx is larger than the cache.
    """
    line = LINE // dy.itemsize
    if dy.shape[1] < line:
        wider = np.empty((dx.shape[0], line), dx.dtype)
        _scatter(starts, columns, values, _padded(dy, line), wider)
        _narrow(wider, dx)
    else:
        _scatter(starts, columns, values, dy, dx)


@kernel
def correlate(starts: Array, columns: Array, x: Array, dy: Array, grad: Array) -> None:
    """grad[p] = <dy[row of p], x[columns[p]]>."""
    rows, batch = dy.shape
    line = LINE // x.itemsize
    if batch < line:
        x, dy, batch = _padded(x, line), _padded(dy, line), line
    parts, step = _parts(starts, rows)
    group = _group(parts, rows, columns.size, x)
    aligned = _worth_aligning(x, columns.size)
    done = 0
    while done < batch:
        wide = _tile(batch - done, line)
        first = min(done, batch - wide * line)
        source, at, stride, target = x.reshape(-1), first, batch, dy.reshape(-1)
        if aligned:
            source, at, stride = _aligned(x, first, wide * line), 0, wide * line
        for part in range(0, parts, group):
            begins, ends = starts[part * step :], starts[min(part + group, parts) * step :]
            for row in range(rows):
                _ask(columns, grad, begins[min(row + _AHEAD, rows - 1)])
                place, skip = row * batch + first, done - first
                begin, end = begins[row], ends[row]
                correlate_row(wide, columns, begin, end, source, at, stride, target, place, done == 0, skip, grad)
        done = first + wide * line


@kernel
def blocks(starts: Array, columns: Array, width: int) -> Array:
    """Starts of each row within each block of features, or `starts` if that is as good: int64 [(blocks + 1) * rows].

    Depends on the connections alone and takes at most a byte for each: made once, used in every step.
    """
    rows = starts.size - 1
    parts = min(width // _BLOCK, columns.size // (_ENOUGH * max(1, rows)))
    if parts < 2:
        return starts
    size = -(-width // parts)
    result = np.empty((parts + 1) * rows, np.int64)
    for row in range(rows):
        p, end = starts[row], starts[row + 1]
        for part in range(parts):
            result[part * rows + row] = p
            while p < end and columns[p] < (part + 1) * size:
                p += 1
        result[parts * rows + row] = end
    return result


@kernel
def _multiply(starts: Array, columns: Array, order: Any, values: Array, x: Array, bias: Array, y: Array) -> None:
    line = LINE // x.itemsize
    if y.shape[1] < line:
        wider = np.empty((y.shape[0], line), y.dtype)
        _accumulate(starts, columns, order, values, _padded(x, line), bias, wider)
        _narrow(wider, y)
    else:
        _accumulate(starts, columns, order, values, x, bias, y)


@kernel
def _accumulate(starts: Array, columns: Array, order: Any, values: Array, x: Array, bias: Array, y: Array) -> None:
    rows, batch = y.shape
    line = LINE // x.itemsize
    parts, step = _parts(starts, rows)
    group = _group(parts, rows, columns.size, x)
    aligned = _worth_aligning(x, columns.size)
    done = 0
    while done < batch:
        wide = _tile(batch - done, line)
        # The last tile may cover numbers that the one before it has done: they come out the same.
        first = min(done, batch - wide * line)
        source, at, stride, target = x.reshape(-1), first, batch, y.reshape(-1)
        if aligned:
            source, at, stride = _aligned(x, first, wide * line), 0, wide * line
        for part in range(0, parts, group):
            begins, ends = starts[part * step :], starts[min(part + group, parts) * step :]
            for row in range(rows):
                if order is None:
                    _ask(columns, values, begins[min(row + _AHEAD, rows - 1)])
                else:
                    _ask(columns, order, begins[min(row + _AHEAD, rows - 1)])
                place, initial = row * batch + first, bias[row] if bias.size > 0 else y.dtype.type(0)
                begin, end, fresh = begins[row], ends[row], part == 0
                accumulate(wide, columns, order, values, begin, end, source, at, stride, fresh, initial, target, place)
        done = first + wide * line


@kernel
def _scatter(starts: Array, columns: Array, values: Array, dy: Array, dx: Array) -> None:
    rows, batch = dy.shape
    line = LINE // dy.itemsize
    parts, step = _parts(starts, rows)
    group = _group(parts, rows, columns.size, dx)
    done = 0
    while done < batch:
        wide = _tile(batch - done, line)
        first = min(done, batch - wide * line)
        dx[:, first : first + wide * line] = 0
        source, target = dy.reshape(-1), dx.reshape(-1)
        for part in range(0, parts, group):
            begins, ends = starts[part * step :], starts[min(part + group, parts) * step :]
            for row in range(rows):
                _ask(columns, values, begins[min(row + _AHEAD, rows - 1)])
                begin, end = begins[row], ends[row]
                scatter(wide, columns, values, begin, end, source, row * batch + first, target, first, batch)
        done = first + wide * line


@kernel
def _ask(columns: Array, others: Array, place: int) -> None:
    """For the next two cache lines of both."""
    prefetch(columns, place)
    prefetch(columns, place + LINE // columns.itemsize)
    prefetch(others, place)
    prefetch(others, place + LINE // others.itemsize)


@kernel
def _parts(starts: Array, rows: int) -> tuple[int, int]:
    """How many blocks, and how far apart the starts of one row are in two that follow each other."""
    if starts.size == rows + 1:
        return 1, 1
    return starts.size // rows - 1, rows


@kernel
def _group(parts: int, rows: int, nnz: int, x: Array) -> int:
    """How many blocks to take as one: as many as stay in the nearest cache, if that leaves a row enough connections."""
    lines = max(1, min(x.shape[1] * x.itemsize // LINE, WIDEST))
    size = x.shape[0] / parts * lines * LINE
    near, far = max(1, int(_NEAR / size)), max(1, int(_FAR / size))
    # The fewer cache lines a connection reads, the less there is to save.
    return near if near * nnz >= (_ENOUGH - 3 + 32 // lines) * rows * parts else far


@kernel
def _tile(left: int, line: int) -> int:
    """Vectors of the next tile: as many as are full, or one."""
    wide = WIDEST
    while wide > 1 and wide * line > left:
        wide //= 2
    return wide


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
