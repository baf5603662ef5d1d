"""The inner loops of sparse multiplication: the sums of one row stay in registers.

Each function goes through one block: `rows` pieces from piece `first` on, a row each. It works on as many vectors of
the batch as `wide` says: WIDEST, half of that, and so on down to one. A vector is one cache line of numbers; LLVM maps
it to one, two or four registers of the machine at hand. Numba's loops would be vectorised too, but with half the width
the machine has, and with each partial sum stored and read back.

block   starts, owners, piece, rows
x       array, at, step: the numbers of feature c begin at array[at + c * step]
y       array, at, step: the same of row r
places  where the values of each piece begin
No bound is checked.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types

from models.kernels.linear_loops import (
    beginning,
    each_piece,
    each_width,
    either,
    put,
    source_of,
    values_of,
    without_skipped,
)
from models.kernels.vectors import INT32, INT64, LINE, Value, Vectors, cgutils, each, emitted, plain, whole_fours

Kind = Any  # of Numba, not typed either


@emitted
def accumulate(
    typing: Any,
    wide: Kind,
    block: Kind,
    columns: Kind,
    places: Kind,
    order: Kind,
    values: Kind,
    x: Kind,
    fresh: Kind,
    bias: Kind,
    y: Kind,
) -> Any:
    """Each row of y: its bias if fresh and else itself, plus its values times rows of x.

    order  where each connection's value is, or None: then places say it, and else these are None
    bias   array, whether it has numbers

    Where the next row of x is is looked up before its turn comes: so it is known even where a piece ends, which cannot
    be foreseen.
    """

    def build(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
        given = plain(context, builder, signature, arguments)
        wide, (starts, owners, first, rows), columns, places, order, values, x, fresh, (bias, biased), y = given
        vectors = Vectors(context, builder, signature.args[5], LINE)
        (x, x_step), (y, y_step) = beginning(vectors, *x), beginning(vectors, *y)
        nothing = cgutils.alloca_once_value(builder, ir.Constant(vectors.number, 0))
        last = builder.sub(builder.add(first, rows), INT64(1))

        def initial(row: Value) -> Value:
            number = builder.load(builder.select(biased, vectors.at(bias, row), nothing))
            return vectors.splat(number, vectors.lanes)

        following = cgutils.alloca_once_value(
            builder, source_of(vectors, x, x_step, columns, vectors.integer(starts, first))
        )
        for count in each_width(builder, wide):
            sums = [cgutils.alloca_once(builder, vectors.vector) for _ in range(count)]
            for piece in each_piece(vectors, starts, owners, first, rows):
                weights = values if places is None else values_of(vectors, values, places, piece, last)
                target = vectors.at(y, builder.mul(piece.row, y_step))
                vectors.begin_sums(sums, fresh, partial(initial, piece.row), target)
                for p in each(builder, piece.begin, piece.end, 1):
                    here = builder.load(following)
                    builder.store(source_of(vectors, x, x_step, columns, p, 1), following)
                    place = p if order is None else vectors.integer(order, p)
                    value = vectors.splat(builder.load(vectors.at(weights, place)), vectors.lanes)
                    for k, total in enumerate(sums):
                        one = vectors.load(vectors.plus(here, k))
                        builder.store(vectors.multiply_add(value, one, builder.load(total)), total)
                for k, total in enumerate(sums):
                    vectors.store(builder.load(total), vectors.plus(target, k))
        return context.get_dummy_value()

    return types.void(wide, block, columns, places, order, values, x, fresh, bias, y), build


@emitted
def scatter(typing: Any, wide: Kind, block: Kind, columns: Kind, places: Kind, values: Kind, y: Kind, x: Kind) -> Any:
    """Adds to rows of x values times each row of y."""

    def build(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
        given = plain(context, builder, signature, arguments)
        wide, (starts, owners, first, rows), columns, places, values, y, x = given
        vectors = Vectors(context, builder, signature.args[4], LINE)
        (x, x_step), (y, y_step) = beginning(vectors, *x), beginning(vectors, *y)
        last = builder.sub(builder.add(first, rows), INT64(1))
        for count in each_width(builder, wide):
            for piece in each_piece(vectors, starts, owners, first, rows):
                weights = values_of(vectors, values, places, piece, last)
                source = vectors.at(y, builder.mul(piece.row, y_step))
                fixed = [vectors.load(vectors.plus(source, k)) for k in range(count)]
                for p in each(builder, piece.begin, piece.end, 1):
                    target = vectors.at(x, builder.mul(vectors.integer(columns, p), x_step))
                    value = vectors.splat(builder.load(vectors.at(weights, p)), vectors.lanes)
                    for k, along in enumerate(fixed):
                        here = vectors.plus(target, k)
                        vectors.store(vectors.multiply_add(value, along, vectors.load(here)), here)
        return context.get_dummy_value()

    return types.void(wide, block, columns, places, values, y, x), build


@emitted
def correlate(
    typing: Any,
    wide: Kind,
    block: Kind,
    columns: Kind,
    places: Kind,
    x: Kind,
    y: Kind,
    fresh: Kind,
    skip: Kind,
    products: Kind,
) -> Any:
    """Each connection's product, 0 if fresh and else itself, plus that of its rows of y and x.

    skip  how many numbers at the beginning do not count; all of them do where there is more than one vector
    """

    def build(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
        given = plain(context, builder, signature, arguments)
        wide, (starts, owners, first, rows), columns, places, x, y, fresh, skip, products = given
        vectors = Vectors(context, builder, signature.args[8], LINE)
        (x, x_step), (y, y_step) = beginning(vectors, *x), beginning(vectors, *y)
        last = builder.sub(builder.add(first, rows), INT64(1))

        def multiply(p: Value, number: int, fixed: Sequence[Value]) -> list[Value]:
            """Sums of vectors, in turns: the additions of one wait for each other."""
            sources = [source_of(vectors, x, x_step, columns, p, k) for k in range(number)]
            totals = [builder.fmul(fixed[0], vectors.load(source)) for source in sources]
            for k, along in enumerate(fixed[1:], 1):
                for q, source in enumerate(sources):
                    totals[q] = vectors.multiply_add(along, vectors.load(vectors.plus(source, k)), totals[q])
            return without_skipped(vectors, skip, totals, len(fixed))

        for count in each_width(builder, wide):
            for is_first in either(builder, fresh):
                for piece in each_piece(vectors, starts, owners, first, rows):
                    grad = values_of(vectors, products, places, piece, last)
                    source = vectors.at(y, builder.mul(piece.row, y_step))
                    fixed = [vectors.load(vectors.plus(source, k)) for k in range(count)]
                    whole = whole_fours(builder, piece.begin, piece.end)
                    for p in each(builder, piece.begin, whole, 4):
                        put(vectors, is_first, vectors.four_sums(*multiply(p, 4, fixed)), vectors.at(grad, p))
                    for p in each(builder, whole, piece.end, 1):
                        put(vectors, is_first, vectors.total(multiply(p, 1, fixed)), vectors.at(grad, p))
        return context.get_dummy_value()

    return types.void(wide, block, columns, places, x, y, fresh, skip, products), build


@emitted
def differentiate(
    typing: Any,
    wide: Kind,
    block: Kind,
    rows: Kind,
    order: Kind,
    values: Kind,
    dy: Kind,
    x: Kind,
    fresh: Kind,
    dx: Kind,
    first_tile: Kind,
    skip: Kind,
    grad: Kind,
) -> Any:
    """By columns: each row of dx is 0 if fresh and else itself, plus its values times rows of dy; and each connection
    has its product of rows of x and dy, as in `correlate`. What both need is read once.
    """

    def build(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
        given = plain(context, builder, signature, arguments)
        wide, (starts, owners, first, count), rows, order, values, dy, x, fresh, dx, first_tile, skip, grad = given
        vectors = Vectors(context, builder, signature.args[4], LINE)
        (dy, dy_step), (x, x_step), (dx, dx_step) = (beginning(vectors, *array) for array in (dy, x, dx))

        def connection(p: Value, fixed: Sequence[Value], sums: Sequence[Value]) -> Value:
            source = source_of(vectors, dy, dy_step, rows, p)
            value = vectors.splat(builder.load(vectors.at(values, vectors.integer(order, p))), vectors.lanes)
            product = None
            for k, (along, total) in enumerate(zip(fixed, sums, strict=True)):
                one = vectors.load(vectors.plus(source, k))
                product = vectors.multiply_add(along, one, product) if product else builder.fmul(along, one)
                builder.store(vectors.multiply_add(value, one, builder.load(total)), total)
            return product

        for lines in each_width(builder, wide):
            sums = [cgutils.alloca_once(builder, vectors.vector) for _ in range(lines)]
            for is_first in either(builder, first_tile):
                for piece in each_piece(vectors, starts, owners, first, count):
                    target = vectors.at(dx, builder.mul(piece.row, dx_step))
                    source = vectors.at(x, builder.mul(piece.row, x_step))
                    vectors.begin_sums(sums, fresh, lambda: vectors.zero, target)
                    fixed = [vectors.load(vectors.plus(source, k)) for k in range(lines)]
                    whole = whole_fours(builder, piece.begin, piece.end)
                    for p in each(builder, piece.begin, whole, 4):
                        places = [builder.add(p, INT64(k)) for k in range(4)]
                        products = without_skipped(vectors, skip, [connection(q, fixed, sums) for q in places], lines)
                        four = vectors.four_sums(*products)
                        for k, q in enumerate(places):
                            place = vectors.at(grad, vectors.integer(order, q))
                            put(vectors, is_first, builder.extract_element(four, INT32(k)), place)
                    for p in each(builder, whole, piece.end, 1):
                        product = vectors.total(without_skipped(vectors, skip, [connection(p, fixed, sums)], lines))
                        put(vectors, is_first, product, vectors.at(grad, vectors.integer(order, p)))
                    for k, total in enumerate(sums):
                        vectors.store(builder.load(total), vectors.plus(target, k))
        return context.get_dummy_value()

    return types.void(wide, block, rows, order, values, dy, x, fresh, dx, first_tile, skip, grad), build
