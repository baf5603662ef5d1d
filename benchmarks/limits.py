"""What this processor can do at best, measured: multiplications and additions, reading near and far, a triad.

Inner loops are written in vectors of the whole register, as the kernels' own are.
"""

from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.interleaved import Way, own_times
from models.kernels.compiled import kernel
from models.kernels.vectors import BYTES, INT64, Value, Vectors, arrayobj, cgutils, emitted, plain

Array = np.ndarray[Any, Any]

CHAINS = 16  # sums under way at a time: more than an addition takes cycles, on every unit there is
ROW = 128  # bytes of a row that is read: a batch of 32 float32, or a quarter of one of 128
ROWS = 16 * BYTES // ROW  # read together: their sums fill half of the registers, or all
LEAST = 1 << 15  # rows that one call reads at least
PLACES = {"first-level cache": 24 << 10, "second-level cache": 1 << 20, "beyond": 64 << 20}
FLOPS = 2 * CHAINS * BYTES // 4  # of one turn of `multiply_add`


def measured(turns: int) -> dict[str, float]:
    """Best of some turns: multiplications and additions, of what registers hold or of what is read straight from a
    cache, 1e9 a second; reading and a triad, 1e9 bytes a second. All of torch's memory: it begins where a line does.
    """
    like, count = np.zeros(BYTES, np.float32), 20_000
    ways: dict[str, Way] = {"multiply and add": partial(multiply_add, like, count)}
    done = {"multiply and add": count * FLOPS}
    draw = np.random.default_rng(0)
    for place in ("first-level cache", "second-level cache"):
        source = torch.ones(PLACES[place] // 4).numpy()
        passes = max(1, (LEAST * ROW) // source.nbytes)
        name = f"multiply and add from the {place}"
        ways[name] = partial(multiply_add_from, source, passes)
        done[name] = 2 * source.size * passes
    for place, size in PLACES.items():
        x = torch.ones(size // ROW, ROW // 4).numpy()  # zeros would all be one page
        straight = np.tile(np.arange(len(x), dtype=np.int32), max(1, LEAST // len(x)))
        astray = draw.permutation(straight)
        a, b, c = (torch.ones(size // 12).numpy() for _ in range(3))
        ways[f"read, {place}"] = partial(read_rows, x, straight)
        ways[f"read at random, {place}"] = partial(read_rows, x, astray)
        passes = max(1, LEAST * ROW // size)
        ways[f"triad, {place}"] = partial(triad, a, b, c, passes)
        done |= {f"read, {place}": straight.size * ROW, f"read at random, {place}": straight.size * ROW}
        done[f"triad, {place}"] = 12 * a.size * passes
    return {name: 1e-9 * done[name] / min(taken) for name, taken in own_times(ways, turns).items()}


def _zeros(vectors: Vectors, count: int) -> list[Value]:
    """Places of so many sums."""
    places = [cgutils.alloca_once(vectors.builder, vectors.vector) for _ in range(count)]
    for place in places:
        vectors.builder.store(vectors.zero, place)
    return places


@emitted
def _multiply_adds(typing: Any, like: Any, turns: Any) -> Any:
    return like.dtype(like, turns), _build_multiply_adds


def _build_multiply_adds(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    like, turns = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    factor = vectors.load(like)
    totals = _zeros(vectors, CHAINS)
    with cgutils.for_range_slice(builder, INT64(0), turns, INT64(1)):
        for total in totals:
            builder.store(vectors.multiply_add(factor, factor, builder.load(total)), total)
    return vectors.total([builder.load(total) for total in totals])


@emitted
def _multiply_adds_from(typing: Any, source: Any, passes: Any) -> Any:
    return source.dtype(source, passes), _build_multiply_adds_from


def _build_multiply_adds_from(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    array = arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
    source, passes = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    factor = vectors.load(source)
    totals = _zeros(vectors, CHAINS)
    step = INT64(CHAINS * vectors.lanes)
    with (
        cgutils.for_range_slice(builder, INT64(0), passes, INT64(1)),
        cgutils.for_range_slice(builder, INT64(0), array.nitems, step) as (place, _),
    ):
        for line, total in enumerate(totals):
            operand = vectors.load(vectors.plus(vectors.at(source, place), line))
            builder.store(vectors.multiply_add(factor, operand, builder.load(total)), total)
    return vectors.total([builder.load(total) for total in totals])


@emitted
def _read_rows(typing: Any, x: Any, rows: Any, count: Any) -> Any:
    return x.dtype(x, rows, count), _build_read_rows


def _build_read_rows(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    x, rows, count = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    lines = ROW // BYTES
    totals = _zeros(vectors, ROWS * lines)
    with cgutils.for_range_slice(builder, INT64(0), count, INT64(ROWS)) as (k, _):
        for row in range(ROWS):
            number = vectors.integer(rows, builder.add(k, INT64(row)))
            source = vectors.at(x, builder.mul(number, INT64(lines * vectors.lanes)))
            for line in range(lines):
                total = totals[row * lines + line]
                builder.store(vectors.add(builder.load(total), vectors.load(vectors.plus(source, line))), total)
    return vectors.total([builder.load(total) for total in totals])


@kernel
def multiply_add(like: Array, turns: int) -> float:
    """So many turns of CHAINS vector multiplications and additions that wait for none of the others."""
    total: float = _multiply_adds(like, turns)
    return total


@kernel
def multiply_add_from(source: Array, passes: int) -> float:
    """Each vector of the source, whole turns of CHAINS, once in each pass."""
    total: float = _multiply_adds_from(source, passes)
    return total


@kernel
def read_rows(x: Array, rows: Array) -> float:
    """Reads x[row] for each of the rows, a multiple of ROWS: x [n, ROW bytes], rows int32."""
    total: float = _read_rows(x.reshape(-1), rows, rows.size)
    return total


@kernel
def triad(a: Array, b: Array, c: Array, passes: int) -> None:
    """a = b + 3 c, as STREAM has it, so many times."""
    for _ in range(passes):
        for k in range(a.size):
            a[k] = b[k] + a.dtype.type(3) * c[k]
