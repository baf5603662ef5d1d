"""What the inner loops of sparse multiplication are written with: widths, pieces, and their connections."""

from collections.abc import Iterator
from typing import NamedTuple

from llvmlite import ir

from models.kernels.vectors import INT64, WIDE, Value, Vectors, cgutils, each, opaque

# The widest tile, in vectors, whose sums leave registers free for all else: AVX-512 has 32 of one line each, the
# others 16 of half a line, or 32 of a quarter.
WIDEST = 8 if WIDE else 4

# Pieces ahead of the one at work whose values are asked for: those of a row lie together, those of a block do not.
_AHEAD = 3


class Piece(NamedTuple):
    """Connections begin to end of one row of the block."""

    row: Value
    number: Value
    begin: Value
    end: Value


def each_width(builder: Value, wide: Value) -> Iterator[int]:
    """Code for each number of vectors; that for `wide` is run."""
    count = WIDEST
    while count > 0:
        with builder.if_then(builder.icmp_signed("==", wide, ir.Constant(wide.type, count))):
            yield count
        count //= 2


def either(builder: Value, flag: Value) -> Iterator[bool]:
    """Code for both, not one with a branch in it: LLVM would put off to behind the branch what the other half needs."""
    with builder.if_else(flag) as (true, false):
        with true:
            yield True
        with false:
            yield False


def each_piece(vectors: Vectors, starts: Value, owners: Value, first: Value, rows: Value) -> Iterator[Piece]:
    builder = vectors.builder
    begin = cgutils.alloca_once_value(builder, vectors.integer(starts, first))
    for number in each(builder, first, builder.add(first, rows), 1):
        end = vectors.integer(starts, builder.add(number, INT64(1)))
        yield Piece(vectors.integer(owners, number), number, builder.load(begin), end)
        builder.store(end, begin)


def values_of(vectors: Vectors, values: Value, places: Value, piece: Piece, last: Value) -> Value:
    """Where a piece's values would begin if those of connection 0 came first. Those of a later piece are asked for."""
    builder = vectors.builder
    ahead = builder.add(piece.number, INT64(_AHEAD))
    ahead = builder.select(builder.icmp_signed("<", ahead, last), ahead, last)
    vectors.prefetch(vectors.at(values, vectors.integer(places, ahead)))
    return vectors.at(values, builder.sub(vectors.integer(places, piece.number), piece.begin))


def source_of(vectors: Vectors, x: Value, step: Value, columns: Value, p: Value, ahead: int = 0) -> Value:
    """Where the numbers of a connection's feature begin, an address in a register: LLVM would leave the addition to the
    instructions that read there, and those that multiply and add as well are then decoded as two."""
    builder = vectors.builder
    column = vectors.integer(columns, builder.add(p, INT64(ahead)))
    return opaque(builder, vectors.at(x, builder.mul(column, step)))


def without_skipped(vectors: Vectors, skip: Value, totals: list[Value], count: int) -> list[Value]:
    """Sums of `count` products without the first `skip` lanes; all count where there is more than one vector."""
    if count > 1:
        return totals
    builder = vectors.builder
    numbers = ir.Constant(ir.VectorType(INT64, vectors.lanes), list(range(vectors.lanes)))
    counts = builder.icmp_signed(">=", numbers, vectors.splat(skip, vectors.lanes))
    # Not products with zero: what is skipped may be infinite.
    return [builder.select(counts, total, vectors.zero) for total in totals]


def put(vectors: Vectors, fresh: bool, total: Value, place: Value) -> None:
    """place = total if fresh, and else itself plus total."""
    if fresh:
        pointer = vectors.builder.bitcast(place, total.type.as_pointer())
        vectors.builder.store(total, pointer, align=vectors.size)
    else:
        vectors.add_to(place, total)


def beginning(vectors: Vectors, array: Value, at: Value, step: Value) -> tuple[Value, Value]:
    return vectors.at(array, at), step
