"""All tiles of one pass of a convolution."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel
from models.kernels.conv_pack import Numbers, between_tiles, pack_outputs, pack_source, unpack_outputs, workspace
from models.kernels.conv_plan import Axis, Integers, Plan, count_tiles, count_vectors
from models.kernels.conv_tiles import INSIDE, OUTSIDE, TILE, gather, visit
from models.kernels.structure import Indices, Starts
from models.kernels.vectors import LINES, QUADS

Small = NDArray[np.int16]
Shape = tuple[int, int, int, int]
Sums = tuple[Numbers, Numbers]
Products = tuple[Numbers, Numbers]


class Connected(NamedTuple):
    """The connections of a pass, output channel after output channel.

    blocks   [outputs, blocks + 1]  of each output channel and block of source channels
    offsets  [nnz]                  from an output's place in the source to what the connection reads
    taps     [nnz]                  of each connection, if the source is not packed
    """

    blocks: Starts
    offsets: Indices
    taps: Small


TOGETHER = 4  # tiles of an output channel, one after the other: memory is fastest in long runs


@kernel
def sweep(
    connected: Connected,
    source: Numbers,
    plan: Plan,
    image: Numbers,
    sums: Sums | None,
    products: Products | None,
) -> None:
    """All tiles of the pass.

    image     as large as that of the outputs; if sums, it is that, and what the pass does not reach stays as it is
    sums      None, or (values [nnz], bias [outputs])
    products  None, or (fixed, grad [nnz]): to grad is added, for each connection, the sum of what it reads times the
              outputs' places in the image `fixed`
    """
    outputs, _, _, batch = image.shape
    down, across, apart = plan.down, plan.across, image.size // outputs
    size, most, between = LINES * plan.lanes, count_tiles(plan, 0, 0), between_tiles(outputs, plan.lanes)
    region = between * plan.chunk * most if plan.packed else size
    packed = workspace(plan.chunk * source.shape[0] * plan.plane * plan.lanes, source)
    summed = workspace(0 if sums is None else region, source)
    fixed = workspace(0 if products is None else region, source)
    slots = np.empty(plan.rows * plan.cols if plan.packed else 0, np.int64)
    tiles = np.empty(TOGETHER * TILE, np.int64)
    marks = down.shifts.size * across.shifts.size * QUADS * 2
    masks = np.empty(TOGETHER * marks, np.int16)
    borders = np.empty(TOGETHER, np.bool_)
    blocks, offsets, border = connected.blocks, connected.offsets, (connected.taps, masks)
    for b0 in range(0, batch, plan.chunk * plan.lanes):
        for i0 in range(0, down.length, plan.rows):
            for j0 in range(0, across.length, plan.cols):
                count = count_tiles(plan, i0, j0)
                if plan.packed:
                    pack_source(source, plan, i0, j0, b0, packed)
                    if products is not None:
                        pack_outputs(products[0], plan, i0, j0, b0, fixed, slots)
                    for v in range(count_vectors(plan, batch - b0)):
                        for block in range(plan.blocks):
                            for t in range(count):
                                _find_tile(t, v, i0, j0, b0, source.shape, image.shape, plan, tiles, 0)
                                slot = (v * most + t) * between
                                for o in range(outputs):
                                    visit(
                                        packed, tiles, 0, offsets, blocks[o, block], blocks[o, block + 1], None, 0,
                                        sums, o, block == 0, summed, slot, products, fixed, slot,
                                    )  # fmt: skip
                                    slot += size
                    if sums is not None:
                        unpack_outputs(image, plan, i0, j0, b0, summed, slots)
                    continue
                for t0 in range(0, count, TOGETHER):
                    together = min(TOGETHER, count - t0)
                    for t in range(together):
                        _find_tile(t0 + t, 0, i0, j0, b0, source.shape, image.shape, plan, tiles, t)
                        borders[t] = _find_border(t0 + t, source.shape, plan, masks, t * marks)
                    for o in range(outputs):
                        begin, end, origin = blocks[o, 0], blocks[o, 1], o * apart + b0
                        for t in range(together):
                            if products is not None:
                                gather(products[0], tiles, t, origin, fixed)
                            if borders[t]:
                                visit(
                                    source, tiles, t, offsets, begin, end, border, t * marks,
                                    sums, o, True, image, origin, products, fixed, 0,
                                )  # fmt: skip
                            else:
                                visit(
                                    source, tiles, t, offsets, begin, end, None, 0,
                                    sums, o, True, image, origin, products, fixed, 0,
                                )  # fmt: skip


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
