"""All tiles of one pass of a convolution."""

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel
from models.kernels.conv_pack import Numbers, pack_outputs, pack_source, unpack_outputs, workspace
from models.kernels.conv_plan import Axis, Integers, Plan, count_tiles, count_vectors
from models.kernels.conv_tiles import (
    INSIDE,
    OUTSIDE,
    TILE,
    accumulate,
    accumulate_masked,
    accumulate_packed,
    correlate_masked,
    correlate_tile,
    gather,
)
from models.kernels.structure import Indices, Starts
from models.kernels.vectors import LINES, QUADS

Small = NDArray[np.int16]
Shape = tuple[int, int, int, int]

TOGETHER = 4  # tiles of an output channel, one after the other: memory is fastest in long runs


@kernel
def sweep(
    blocks: Starts,
    offsets: Indices,
    taps: Small,
    values: Numbers,
    source: Numbers,
    bias: Numbers,
    out: Numbers,
    plan: Plan,
) -> None:
    """The outputs of the pass; all others stay as they are.

    blocks  [outputs, blocks + 1]  of the connections of each output channel and block of source channels
    offsets [nnz]                  from an output's place in the source to what the connection reads
    taps    [nnz]                  of each connection, if the source is not packed
    """
    outputs, height, width, batch = out.shape
    down, across, size, most = plan.down, plan.across, LINES * plan.lanes, count_tiles(plan, 0, 0)
    packed = workspace(plan.chunk * source.shape[0] * plan.plane * plan.lanes, source)
    sums = workspace(size * plan.chunk * most * outputs if plan.packed else 0, source)
    slots = np.empty(plan.rows * plan.cols if plan.packed else 0, np.int64)
    tiles = np.empty(TOGETHER * TILE, np.int64)
    marks = down.shifts.size * across.shifts.size * QUADS * 2
    masks = np.empty(TOGETHER * marks, np.int16)
    borders = np.empty(TOGETHER, np.bool_)
    flat_source, flat = source.reshape(-1), out.reshape(-1)
    start = values.dtype.type(0)
    for b0 in range(0, batch, plan.chunk * plan.lanes):
        for i0 in range(0, down.length, plan.rows):
            for j0 in range(0, across.length, plan.cols):
                count = count_tiles(plan, i0, j0)
                if plan.packed:
                    pack_source(source, plan, i0, j0, b0, packed)
                    for v in range(count_vectors(plan, batch - b0)):
                        for block in range(plan.blocks):
                            for t in range(count):
                                _find_tile(t, v, i0, j0, b0, source.shape, out.shape, plan, tiles, 0)
                                for o in range(outputs):
                                    if bias.size:
                                        start = bias[o]
                                    accumulate_packed(
                                        packed, tiles, 0, offsets, values, blocks[o, block], blocks[o, block + 1],
                                        block == 0, start, sums, ((v * most + t) * outputs + o) * size,
                                    )  # fmt: skip
                    unpack_outputs(out, plan, i0, j0, b0, sums, slots)
                    continue
                for t0 in range(0, count, TOGETHER):
                    together = min(TOGETHER, count - t0)
                    for t in range(together):
                        _find_tile(t0 + t, 0, i0, j0, b0, source.shape, out.shape, plan, tiles, t)
                        borders[t] = _find_border(t0 + t, source.shape, plan, masks, t * marks)
                    for o in range(outputs):
                        if bias.size:
                            start = bias[o]
                        begin, end, origin = blocks[o, 0], blocks[o, 1], o * height * width * batch + b0
                        for t in range(together):
                            if borders[t]:
                                accumulate_masked(
                                    flat_source,
                                    tiles,
                                    t,
                                    offsets,
                                    values,
                                    begin,
                                    end,
                                    start,
                                    flat,
                                    origin,
                                    taps,
                                    masks,
                                    t * marks,
                                )
                            else:
                                accumulate(flat_source, tiles, t, offsets, values, begin, end, start, flat, origin)


@kernel
def sweep_gradients(
    blocks: Starts,
    offsets: Indices,
    taps: Small,
    x: Numbers,
    dy: Numbers,
    grad: Numbers,
    bias_grad: Numbers,
    plan: Plan,
) -> None:
    """grad [nnz] and bias_grad [outputs], or empty; the other arguments are those of `sweep`."""
    outputs, height, width, batch = dy.shape
    down, across, size, most = plan.down, plan.across, LINES * plan.lanes, count_tiles(plan, 0, 0)
    packed = workspace(plan.chunk * x.shape[0] * plan.plane * plan.lanes, x)
    gathered = workspace(size * plan.chunk * most * outputs if plan.packed else size, x)
    slots = np.empty(plan.rows * plan.cols if plan.packed else 0, np.int64)
    tiles = np.empty(TOGETHER * TILE, np.int64)
    marks = down.shifts.size * across.shifts.size * QUADS * 2
    masks = np.empty(TOGETHER * marks, np.int16)
    borders = np.empty(TOGETHER, np.bool_)
    flat_x, flat = x.reshape(-1), dy.reshape(-1)
    grad[:] = 0
    bias_grad[:] = 0
    for b0 in range(0, batch, plan.chunk * plan.lanes):
        for i0 in range(0, down.length, plan.rows):
            for j0 in range(0, across.length, plan.cols):
                count = count_tiles(plan, i0, j0)
                if plan.packed:
                    pack_source(x, plan, i0, j0, b0, packed)
                    pack_outputs(dy, plan, i0, j0, b0, gathered, slots, bias_grad)
                    for v in range(count_vectors(plan, batch - b0)):
                        for block in range(plan.blocks):
                            for t in range(count):
                                _find_tile(t, v, i0, j0, b0, x.shape, dy.shape, plan, tiles, 0)
                                for o in range(outputs):
                                    correlate_tile(
                                        packed, tiles, 0, offsets, blocks[o, block], blocks[o, block + 1],
                                        gathered, ((v * most + t) * outputs + o) * size, grad,
                                    )  # fmt: skip
                    continue
                for t0 in range(0, count, TOGETHER):
                    together = min(TOGETHER, count - t0)
                    for t in range(together):
                        _find_tile(t0 + t, 0, i0, j0, b0, x.shape, dy.shape, plan, tiles, t)
                        borders[t] = _find_border(t0 + t, x.shape, plan, masks, t * marks)
                    for o in range(outputs):
                        begin, end, origin = blocks[o, 0], blocks[o, 1], o * height * width * batch + b0
                        for t in range(together):
                            total = gather(flat, tiles, t, origin, gathered, 0)
                            if bias_grad.size:
                                bias_grad[o] += total
                            if borders[t]:
                                correlate_masked(
                                    flat_x, tiles, t, offsets, begin, end, gathered, 0, grad, taps, masks, t * marks
                                )
                            else:
                                correlate_tile(flat_x, tiles, t, offsets, begin, end, gathered, 0, grad)


@kernel
def _find_tile(
    t: int, v: int, i0: int, j0: int, b0: int, source: Shape, out: Shape, plan: Plan, tiles: Integers, which: int
) -> None:
    """Fills in tiles[which] (see conv_tiles) for tile t, and vector v where packed, of the region at i0, j0, b0."""
    down, across, lanes, batch = plan.down, plan.across, plan.lanes, out[3]
    rows, cols = min(plan.rows, down.length - i0), min(plan.cols, across.length - j0)
    step, at = 4 // plan.deep, which * TILE
    beside = (cols + step - 1) // step
    for k in range(QUADS):
        quad = min(QUADS * t + k, rows * beside - 1)
        if plan.packed:
            # Squares, or nearly: they read less of the source than rows.
            r, s = quad % rows, quad // rows * step
            tiles[at + k] = (v * source[0] * plan.plane + r * plan.line + s) * lanes
        else:
            r, s = quad // beside, quad % beside * step
            tiles[at + k] = (r * down.step * source[2] + s * across.step) * batch + b0
        i, j = down.first + (i0 + r) * down.stride, across.first + (j0 + s) * across.stride
        tiles[at + QUADS + k] = (i * out[2] + j) * batch
        tiles[at + 2 * QUADS + k] = min(4, (cols - s) * plan.deep) if QUADS * t + k < rows * beside else 0
    column = across.stride * batch
    tiles[at + 3 * QUADS] = column if plan.deep == 1 else lanes
    tiles[at + 3 * QUADS + 1] = 2 * lanes if plan.deep == 4 else column * (2 // plan.deep)


@kernel
def _find_border(t: int, source: Shape, plan: Plan, masks: Small, at: int) -> bool:
    """Whether tile t of a source that is not packed reads beyond it; if so fills in masks[at:] (see conv_tiles)."""
    down, across, step = plan.down, plan.across, 4 // plan.deep
    beside = (across.length + step - 1) // step
    quads = down.length * beside
    begin, end = QUADS * t, min(QUADS * t + QUADS, quads)
    top, bottom = begin // beside, (end - 1) // beside
    left, right = (
        (begin % beside * step, (end - 1) % beside * step + step - 1) if top == bottom else (0, beside * step - 1)
    )
    inside = right < across.length and _reads_within(across, left, right, source[2])
    if inside and _reads_within(down, top, bottom, source[1]):
        return False
    k = at
    for ty in range(down.shifts.size):
        for tx in range(across.shifts.size):
            met = down.phases[ty] >= 0 and across.phases[tx] >= 0
            for half in range(2 * QUADS):
                quad = min(begin + half // 2, quads - 1)
                j = quad % beside * step + half % 2 * step // 2
                y = (quad // beside + down.shifts[ty]) * down.step + down.origins[max(0, down.phases[ty])]
                x = (j + across.shifts[tx]) * across.step + across.origins[max(0, across.phases[tx])]
                there = met and j < across.length and 0 <= y < source[1] and 0 <= x < source[2]
                masks[k] = INSIDE if there else OUTSIDE
                k += 1
    return True


@kernel
def _reads_within(axis: Axis, first: int, last: int, size: int) -> bool:
    """Whether every tap of outputs first..last surely reads one of `size` places."""
    greatest = (last + axis.low + axis.reach) * axis.step + axis.origins.max()
    return (first + axis.low) * axis.step >= 0 and greatest < size
