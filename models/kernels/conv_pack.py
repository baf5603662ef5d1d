"""Copies of a region of the source in which every tap of every channel is at one distance, zero padding included."""

import numpy as np
from numpy.typing import NDArray

from models.kernels.compiled import kernel
from models.kernels.conv_lines import clear, copy_in, copy_out
from models.kernels.conv_plan import Integers, Plan, count_tiles, count_vectors
from models.kernels.vectors import BYTES, LINES, QUADS

Numbers = NDArray[np.floating]


@kernel
def workspace(size: int, like: Numbers) -> Numbers:
    """Uninitialised, and starting where a vector may: a load across two cache lines costs two."""
    raw = np.empty(size + BYTES // like.itemsize, like.dtype)
    start = -raw.ctypes.data % BYTES // like.itemsize
    return raw[start : start + size]


@kernel
def pack_source(source: Numbers, plan: Plan, i0: int, j0: int, b0: int, packed: Numbers) -> None:
    """The region that starts at output i0, j0 and batch b0, as [vector, channel, phase, tall, phase, wide]."""
    channels, height, width, batch = source.shape
    flat = source.reshape(-1)
    down, across, lanes = plan.down, plan.across, plan.lanes
    step, phases = across.step, across.origins.size
    vectors, apart = count_vectors(plan, batch - b0), channels * plan.plane * lanes
    slots = np.arange(plan.wide) * lanes
    # Of each phase: its first column within the image, and which of the packed columns lie there.
    columns, befores, afters = np.empty(phases, np.int64), np.empty(phases, np.int64), np.empty(phases, np.int64)
    for phase in range(phases):
        x = (j0 + across.low) * step + across.origins[phase]
        before = min(plan.wide, (max(0, -x) + step - 1) // step)
        columns[phase], befores[phase] = x + before * step, before
        afters[phase] = min(plan.wide, max(before, (width - x + step - 1) // step))
    slot = 0
    for c in range(channels):
        for phase_y in range(down.origins.size):
            y = (i0 + down.low) * down.step + down.origins[phase_y]
            for _ in range(plan.tall):
                for phase in range(phases):
                    before, after = (befores[phase], afters[phase]) if 0 <= y < height else (0, 0)
                    origin = ((c * height + y) * width + columns[phase]) * batch + b0
                    if before < after:
                        copy_in(
                            flat, origin, step * batch, batch - b0,
                            packed, slot, slots, before, after - before, vectors, apart,
                        )  # fmt: skip
                    if before > 0 or after < plan.wide:
                        for v in range(vectors):
                            own = slot + v * apart
                            clear(packed, own, own + before * lanes)
                            clear(packed, own + after * lanes, own + plan.wide * lanes)
                    slot += plan.wide * lanes
                y += down.step


@kernel
def between_tiles(outputs: int, lanes: int) -> int:
    """From a tile of packed outputs to the next: not a multiple of four channels, which share few places of a cache."""
    return (outputs + 1 if outputs % 4 == 0 else outputs) * LINES * lanes


@kernel
def pack_outputs(out: Numbers, plan: Plan, i0: int, j0: int, b0: int, packed: Numbers, slots: Integers) -> None:
    """The region of `out` as [vector, tile, channel, LINES], 0 where a tile leaves it."""
    outputs, height, width, batch = out.shape
    flat = out.reshape(-1)
    down, across, size = plan.down, plan.across, LINES * plan.lanes
    rows, cols = min(plan.rows, down.length - i0), min(plan.cols, across.length - j0)
    tiles = count_tiles(plan, i0, j0)
    vectors, apart = count_vectors(plan, batch - b0), count_tiles(plan, 0, 0) * between_tiles(outputs, plan.lanes)
    if tiles * LINES != rows * cols:
        for v in range(vectors):
            clear(packed, v * apart, v * apart + tiles * between_tiles(outputs, plan.lanes))
    _find_slots(plan, outputs, rows, cols, slots)
    for o in range(outputs):
        for r in range(rows):
            place = (o * height + down.first + (i0 + r) * down.stride) * width + across.first + j0 * across.stride
            copy_in(
                flat, place * batch + b0, across.stride * batch, batch - b0,
                packed, o * size, slots, r * cols, cols, vectors, apart,
            )  # fmt: skip


@kernel
def unpack_outputs(out: Numbers, plan: Plan, i0: int, j0: int, b0: int, packed: Numbers, slots: Integers) -> None:
    """The inverse of `pack_outputs`."""
    outputs, height, width, batch = out.shape
    flat = out.reshape(-1)
    down, across, size = plan.down, plan.across, LINES * plan.lanes
    rows, cols = min(plan.rows, down.length - i0), min(plan.cols, across.length - j0)
    vectors, apart = count_vectors(plan, batch - b0), count_tiles(plan, 0, 0) * between_tiles(outputs, plan.lanes)
    _find_slots(plan, outputs, rows, cols, slots)
    for o in range(outputs):
        for r in range(rows):
            place = (o * height + down.first + (i0 + r) * down.stride) * width + across.first + j0 * across.stride
            copy_out(
                flat, place * batch + b0, across.stride * batch, batch - b0,
                packed, o * size, slots, r * cols, cols, vectors, apart,
            )  # fmt: skip


@kernel
def _find_slots(plan: Plan, outputs: int, rows: int, cols: int, slots: Integers) -> None:
    """slots [rows, cols]: where the packed outputs have each position, of channel 0 and the first vector."""
    k = 0
    for r in range(rows):
        for s in range(cols):
            quad = r + s // 4 * rows
            slots[k] = quad // QUADS * between_tiles(outputs, plan.lanes) + (quad % QUADS * 4 + s % 4) * plan.lanes
            k += 1
