"""The inner loops of sparse multiplication, in LLVM's own vectors: the sums of one row stay in registers.

A vector is one cache line of numbers; LLVM maps it to one, two or four registers of the machine at hand. Numba's loops
would be vectorised too, but with half the width the machine has, and with each partial sum stored and read back.

Each function works on as many vectors of the batch as `wide` says: WIDEST, half of that, and so on down to one. Arrays
are one-dimensional, and x[at + c * stride:] is where the numbers of feature c begin. None of them checks a bound.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numba.core.cgutils
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

LINE = 64  # bytes

# The widest tile, in vectors, whose sums leave registers free for all else: AVX-512 has 32 of one line each, the
# others 16 of half a line, or 32 of a quarter.
WIDEST = 8 if binding.get_host_cpu_features().get("avx512f") else 4

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_ANY_ORDER = ("reassoc", "nsz", "contract")

Build = Callable[..., Any]

cgutils: Any = numba.core.cgutils  # which is not typed


def _emitted(emit: Build) -> Build:
    """A function for kernels to call, whose code `emit` writes; it gets a typing context before the arguments."""
    return cast(Build, intrinsic(emit))


@_emitted
def accumulate(
    typing: Any,
    wide: Any,
    columns: Any,
    order: Any,
    values: Any,
    begin: Any,
    end: Any,
    x: Any,
    at: Any,
    stride: Any,
    fresh: Any,
    initial: Any,
    y: Any,
    to: Any,
) -> Any:
    """y[to:] = initial if fresh else y[to:], plus values[p] * x[at + columns[p] * stride:] for each p of begin:end.

    order  where the value of each p is, or None if it is at p itself
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, columns, order, values, begin, end, x, at, stride, fresh, initial, y, to = _pointers(
            context, builder, signature, arguments
        )
        x, y = builder.gep(x, [at]), builder.gep(y, [to])
        vector = _vector(context, signature)
        for count in _each_width(builder, wide):
            sums = [cgutils.alloca_once(builder, vector) for _ in range(count)]
            with builder.if_else(fresh) as (from_initial, from_y):
                with from_initial:
                    for total in sums:
                        builder.store(_broadcast(builder, initial, vector), total)
                with from_y:
                    for k, total in enumerate(sums):
                        builder.store(_load(builder, y, k, vector), total)

            def add(p: Any, sums: Any = sums) -> None:
                source = builder.gep(x, [builder.mul(_index(builder, columns, p), stride)])
                place = p if order is None else _index(builder, order, p)
                value = _broadcast(builder, builder.load(builder.gep(values, [place])), vector)
                for k, total in enumerate(sums):
                    more = _multiply_add(builder, value, _load(builder, source, k, vector), builder.load(total))
                    builder.store(more, total)

            _by_fours(builder, begin, end, _four_times(builder, add), add)
            for k, total in enumerate(sums):
                _store(builder, builder.load(total), y, k)
        return context.get_dummy_value()

    return types.void(wide, columns, order, values, begin, end, x, at, stride, fresh, initial, y, to), build


@_emitted
def scatter(
    typing: Any,
    wide: Any,
    columns: Any,
    values: Any,
    begin: Any,
    end: Any,
    y: Any,
    to: Any,
    x: Any,
    at: Any,
    stride: Any,
) -> Any:
    """x[at + columns[p] * stride:] += values[p] * y[to:] for each p of begin:end."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, columns, values, begin, end, y, to, x, at, stride = _pointers(context, builder, signature, arguments)
        x, y = builder.gep(x, [at]), builder.gep(y, [to])
        vector = _vector(context, signature)
        for count in _each_width(builder, wide):
            fixed = [_load(builder, y, k, vector) for k in range(count)]

            def add(p: Any, fixed: Any = fixed) -> None:
                target = builder.gep(x, [builder.mul(_index(builder, columns, p), stride)])
                value = _broadcast(builder, builder.load(builder.gep(values, [p])), vector)
                for k, along in enumerate(fixed):
                    _store(builder, _multiply_add(builder, value, along, _load(builder, target, k, vector)), target, k)

            _by_fours(builder, begin, end, _four_times(builder, add), add)
        return context.get_dummy_value()

    return types.void(wide, columns, values, begin, end, y, to, x, at, stride), build


@_emitted
def correlate(
    typing: Any,
    wide: Any,
    columns: Any,
    begin: Any,
    end: Any,
    x: Any,
    at: Any,
    stride: Any,
    y: Any,
    to: Any,
    fresh: Any,
    skip: Any,
    products: Any,
) -> Any:
    """products[p] = 0 if fresh else products[p], plus <y[to:], x[at + columns[p] * stride:]>, for each p of begin:end.

    skip  how many numbers at the beginning do not count; all of them do where there is more than one vector
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, columns, begin, end, x, at, stride, y, to, fresh, skip, products = _pointers(
            context, builder, signature, arguments
        )
        x, y = builder.gep(x, [at]), builder.gep(y, [to])
        vector = _vector(context, signature)
        lanes = ir.VectorType(_INT64, vector.count)
        numbers = ir.Constant(lanes, list(range(vector.count)))
        counts = builder.icmp_signed(">=", numbers, _broadcast(builder, skip, lanes))

        def put(total: Any, p: Any) -> None:
            place = builder.gep(products, [p])
            if isinstance(total.type, ir.VectorType):
                place = builder.bitcast(place, total.type.as_pointer())
            align = _size(total.type)
            old = builder.select(fresh, ir.Constant(total.type, None), builder.load(place, align=align))
            builder.store(builder.fadd(total, old), place, align=align)

        for count in _each_width(builder, wide):
            fixed = [_load(builder, y, k, vector) for k in range(count)]

            def multiply(places: Sequence[Any], fixed: Any = fixed) -> list[Any]:
                # In turns: the additions of one wait for each other.
                sources = [builder.gep(x, [builder.mul(_index(builder, columns, p), stride)]) for p in places]
                totals = [ir.Constant(vector, None)] * len(places)
                for k, along in enumerate(fixed):
                    for q, source in enumerate(sources):
                        totals[q] = _multiply_add(builder, along, _load(builder, source, k, vector), totals[q])
                if len(fixed) > 1:
                    return totals
                # Not products with zero: what is skipped may be infinite.
                return [builder.select(counts, total, ir.Constant(vector, None)) for total in totals]

            def one(p: Any, multiply: Any = multiply) -> None:
                (total,) = multiply([p])
                put(builder.extract_element(_fold(builder, total, 1), ir.Constant(_INT32, 0)), p)

            def four(p: Any, multiply: Any = multiply) -> None:
                a, b, c, d = multiply([builder.add(p, ir.Constant(_INT64, k)) for k in range(4)])
                total = _interleave(builder, _interleave(builder, a, b), _interleave(builder, c, d))
                put(_fold(builder, total, 4), p)

            _by_fours(builder, begin, end, four, one)
        return context.get_dummy_value()

    return types.void(wide, columns, begin, end, x, at, stride, y, to, fresh, skip, products), build


@_emitted
def prefetch(typing: Any, array: Any, place: Any) -> Any:
    """Asks for the cache line of array[place], which need not exist."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, place = _pointers(context, builder, signature, arguments)
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(array, [place]), byte)
        builder.call(function, [address, *(ir.Constant(_INT32, k) for k in (0, 3, 1))])  # to read, soon again, data
        return context.get_dummy_value()

    return types.void(array, place), build


def _pointers(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments: of an array the address of its first number, of None None."""

    def pointer(kind: Any, argument: Any) -> Any:
        if isinstance(kind, types.Array):
            return context.make_array(kind)(context, builder, argument).data
        return None if isinstance(kind, types.NoneType) else argument

    return [pointer(*both) for both in zip(signature.args, arguments, strict=True)]


def _each_width(builder: Any, wide: Any) -> Iterator[int]:
    """Code for each number of vectors; that for `wide` is run."""
    count = WIDEST
    while count > 0:
        with builder.if_then(builder.icmp_signed("==", wide, ir.Constant(wide.type, count))):
            yield count
        count //= 2


def _by_fours(builder: Any, begin: Any, end: Any, four: Build, one: Build) -> None:
    """Calls four(p) for every fourth p of begin:end, then one(p) for the up to three left."""
    whole = builder.add(begin, builder.and_(builder.sub(end, begin), ir.Constant(_INT64, -4)))
    with cgutils.for_range_slice(builder, begin, whole, ir.Constant(_INT64, 4), _INT64) as (p, _):
        four(p)
    with cgutils.for_range_slice(builder, whole, end, ir.Constant(_INT64, 1), _INT64) as (p, _):
        one(p)


def _four_times(builder: Any, one: Build) -> Build:
    def four(p: Any) -> None:
        for k in range(4):
            one(builder.add(p, ir.Constant(_INT64, k)))

    return four


def _vector(context: Any, signature: Any) -> ir.VectorType:
    """A line of the floating-point numbers that the arrays hold."""
    number = next(kind.dtype for kind in signature.args if isinstance(getattr(kind, "dtype", None), types.Float))
    return ir.VectorType(context.get_data_type(number), LINE * 8 // number.bitwidth)


def _size(kind: Any) -> int:
    """Bytes of one number: all the alignment that arrays promise."""
    number = kind.element if isinstance(kind, ir.VectorType) else kind
    return 4 if isinstance(number, ir.FloatType) else 8


def _load(builder: Any, pointer: Any, k: int, vector: ir.VectorType) -> Any:
    address = builder.gep(pointer, [ir.Constant(_INT64, k * vector.count)])
    return builder.load(builder.bitcast(address, vector.as_pointer()), align=_size(vector))


def _store(builder: Any, value: Any, pointer: Any, k: int) -> None:
    address = builder.gep(pointer, [ir.Constant(_INT64, k * value.type.count)])
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=_size(value.type))


def _index(builder: Any, array: Any, p: Any) -> Any:
    return builder.sext(builder.load(builder.gep(array, [p])), _INT64)


def _broadcast(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    alone = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(_INT32, 0))
    return _shuffle(builder, alone, alone, [0] * vector.count)


def _shuffle(builder: Any, a: Any, b: Any, places: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INT32, len(places)), places))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    name = f"llvm.fmuladd.v{a.type.count}f{8 * _size(a.type)}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, [a, b, c])


def _sum(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b, flags=_ANY_ORDER)


def _interleave(builder: Any, a: Any, b: Any) -> Any:
    """a0 + a1, a2 + a3, b0 + b1, b2 + b3 of the first four, and so on. Done twice, each four is one number of each."""
    count = a.type.count
    even = [four + k for four in range(0, count, 4) for k in (0, 2, count, count + 2)]
    return _sum(builder, _shuffle(builder, a, b, even), _shuffle(builder, a, b, [k + 1 for k in even]))


def _fold(builder: Any, a: Any, count: int) -> Any:
    """Upper half onto lower half until `count` numbers are left."""
    while a.type.count > count:
        half = a.type.count // 2
        lower, upper = list(range(half)), list(range(half, 2 * half))
        a = _sum(builder, _shuffle(builder, a, a, lower), _shuffle(builder, a, a, upper))
    return a
