"""How a convolution is cut into pieces that fit the processor's caches."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel
from models.kernels.vectors import LINES, QUADS

Integers = NDArray[np.int64]

NEAR = 600  # vectors that the first-level cache holds, of the source for one tile of all outputs
HELD = 32000  # vectors that the second-level cache holds, of the source and the outputs of a region
SHARE = LINES / 16  # of the tile on which the times below were measured

WHOLE = 1 << 30


class Axis(NamedTuple):
    """How outputs meet the source along one direction, in one pass.

    Output i of the `length` of the pass is place `first` + i * `stride` of all outputs.
    Tap t reads source place (i + shifts[t]) * `step` + origins[phases[t]]; phases[t] < 0: none.
    low, reach: the least shift, and from it to the greatest
    """

    length: int
    stride: int
    first: int
    step: int
    low: int
    reach: int
    shifts: Integers
    phases: Integers
    origins: Integers


@kernel
def forward_axis(length: int, taps: int, stride: int, dilation: int, padding: int) -> Axis:
    """Output i reads the places i * stride + t * dilation - padding of the input."""
    shifts, phases = np.empty(taps, np.int64), np.full(taps, -1)
    origins = np.empty(min(taps, stride), np.int64)
    used = 0
    for t in range(taps):
        place = t * dilation - padding
        shifts[t] = place // stride
        origin = place - shifts[t] * stride
        for phase in range(used):
            if origins[phase] == origin:
                phases[t] = phase
        if phases[t] < 0:
            origins[used], phases[t] = origin, used
            used += 1
    return Axis(length, 1, 0, stride, shifts[0], shifts[taps - 1] - shifts[0], shifts, phases, origins[:used])


@kernel
def backward_axis(size: int, first: int, taps: int, stride: int, dilation: int, padding: int) -> Axis:
    """Of an input's `size` places only first, first + stride, ...: they meet the same taps, at successive outputs."""
    shifts, phases = np.zeros(taps, np.int64), np.full(taps, -1)
    low, high = 0, 0
    used = 0
    for t in range(taps):
        place = first + padding - t * dilation
        if place % stride == 0:
            shift = place // stride
            low, high = (min(low, shift), max(high, shift)) if used else (shift, shift)
            shifts[t], phases[t] = shift, 0
            used += 1
    length = (size - first + stride - 1) // stride
    return Axis(length, stride, first, 1, low, high - low, shifts, phases, np.zeros(1, np.int64))


class Plan(NamedTuple):
    """A vector has `lanes` numbers of the batch; a quad is 4 / `deep` columns of outputs, `deep` vectors of each.

    packed      whether the source is copied, region by region, or read where it is
    rows, cols  outputs in a region
    chunk       vectors of the batch in a region; each has a copy of its own
    tall, wide  places of the packed source along each axis, for each phase
    line, plane vectors from one packed row, channel to the next
    near        source channels read at a time, in `blocks` turns
    """

    down: Axis
    across: Axis
    lanes: int
    deep: int
    packed: bool
    rows: int
    cols: int
    chunk: int
    tall: int
    wide: int
    line: int
    plane: int
    near: int
    blocks: int


@kernel
def make_plan(
    channels: int, outputs: int, nnz: int, down: Axis, across: Axis, batch: int, lanes: int, near: bool, kinds: int
) -> Plan:
    """The cheapest of some plans; the source is read where it is only if it is `near` enough for 32-bit offsets.

    kinds  of results: 1 for sums or products, 2 for both at once
    """
    vectors = (batch + lanes - 1) // lanes
    best = _pack_regions(channels, down, across, lanes, QUADS, 4, 1, 1)
    least = _cost(best, channels, outputs, nnz, vectors, kinds)
    for deep in (4, 2):
        # Quads are runs of the source: of one position, or of neighbours that have no other vectors between them.
        if batch % (4 * lanes) == 0 if deep == 4 else (batch == 2 * lanes and across.step == 1):
            plan = _read_in_place(channels, down, across, lanes, deep)
            cost = _cost(plan, channels, outputs, nnz, vectors, kinds)
            if near and cost < least:
                best, least = plan, cost
    for rows, cols in ((QUADS, 4), (QUADS // 2, 8), (QUADS, 8), (WHOLE, WHOLE)):
        for chunk in (1, 2, 4):
            if chunk < 2 * vectors:
                plan = _pack_regions(channels, down, across, lanes, rows, cols, chunk, 1)
                fitting = (channels * _footprint(plan) + NEAR - 1) // NEAR
                tried = 0
                for blocks in (1, (fitting + 1) // 2, (3 * fitting + 3) // 4, fitting):
                    if blocks == tried:
                        continue
                    tried = blocks
                    plan = _pack_regions(channels, down, across, lanes, rows, cols, chunk, min(channels, blocks))
                    cost = _cost(plan, channels, outputs, nnz, vectors, kinds)
                    if cost < least:
                        best, least = plan, cost
    return best


@kernel
def count_tiles(plan: Plan, i0: int, j0: int) -> int:
    """Of the region that starts at output i0, j0."""
    rows, cols = min(plan.rows, plan.down.length - i0), min(plan.cols, plan.across.length - j0)
    step = 4 // plan.deep
    return (rows * ((cols + step - 1) // step) + QUADS - 1) // QUADS


@kernel
def count_vectors(plan: Plan, batch: int) -> int:
    """Of what is left of the batch, in one region."""
    return min(plan.chunk, (batch + plan.lanes - 1) // plan.lanes)


@kernel
def _pack_regions(
    channels: int, down: Axis, across: Axis, lanes: int, rows: int, cols: int, chunk: int, blocks: int
) -> Plan:
    rows, cols = min(rows, down.length), min(cols, across.length)
    tall, wide = rows + down.reach, (cols + 3) // 4 * 4 + across.reach
    line = wide * across.origins.size
    plane = tall * down.origins.size * line
    near = (channels + blocks - 1) // blocks
    blocks = (channels + near - 1) // near
    return Plan(down, across, lanes, 1, True, rows, cols, chunk, tall, wide, line, plane, near, blocks)


@kernel
def _read_in_place(channels: int, down: Axis, across: Axis, lanes: int, deep: int) -> Plan:
    return Plan(down, across, lanes, deep, False, down.length, across.length, deep, 0, 0, 0, 0, channels, 1)


@kernel
def _footprint(plan: Plan) -> int:
    """Vectors of one source channel that a tile reads."""
    step = 4 // plan.deep
    tall = min(plan.rows, QUADS) if plan.packed else 1
    wide = min((plan.cols + step - 1) // step, QUADS // tall) * step
    tall, wide = (
        (tall + plan.down.reach) * plan.down.origins.size,
        (wide + plan.across.reach) * plan.across.origins.size,
    )
    return tall * wide * plan.deep


@kernel
def _cost(plan: Plan, channels: int, outputs: int, nnz: int, vectors: int, kinds: int) -> float:
    """Nanoseconds on the processor this was tuned for; only the order of plans matters.

    A tile takes 4 for a weight and kind, more as what it reads outgrows the first-level cache, and 13 for an output,
    block and kind. Read in place it takes most: images are powers of two wide, and their rows share a few places of
    each cache; and at the border each connection looks up what is there. What is packed goes to the second-level cache
    and back: slower if that does not hold a region, and slowest if not even one vector of the batch, as each block
    goes through all of that.
    """
    down, across = plan.down, plan.across
    regions = ((down.length + plan.rows - 1) // plan.rows) * ((across.length + plan.cols - 1) // plan.cols)
    regions *= (vectors + plan.deep - 1) // plan.deep
    tiles = count_tiles(plan, 0, 0)
    far = min(1.0, max(0.0, (plan.near * _footprint(plan) - NEAR) / 1500.0))
    each = SHARE * (4.0 * kinds + (2.0 * far if plan.packed else 4.0 * far + 2.0 * _rim(plan)))
    images = kinds * tiles * outputs * LINES
    if plan.packed:
        lines = channels * plan.plane + images
        line = 4.0 + 3.0 * _beyond(plan.chunk * lines) + 8.0 * _beyond(lines) + 1.5 * min(2, 4 // plan.chunk - 1)
    else:
        lines = plan.deep * channels * down.step * across.step * down.length * across.length + images
        line = 2.0
    return regions * (tiles * (nnz * each + outputs * plan.blocks * kinds * 13.0) + lines * line)


@kernel
def _rim(plan: Plan) -> float:
    """The share of a pass's tiles that meet the border of a source that is read in place."""
    beside = (plan.across.length * plan.deep + LINES - 1) // LINES
    columns = max(0, beside - 2) if plan.across.reach > 0 else beside
    rows = max(0, plan.down.length - plan.down.reach)
    return 1.0 - columns * rows / (beside * plan.down.length)


@kernel
def _beyond(lines: int) -> float:
    """From 0, where the second-level cache holds so many, to 1."""
    return min(1.0, max(0.0, lines / HELD - 1.0))
