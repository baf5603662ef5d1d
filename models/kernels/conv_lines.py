"""Copies between an image and its packed form, vector by vector."""

from typing import Any

from numba import types

from models.kernels.vectors import INT64, Value, Vectors, cgutils, emitted, plain


@emitted
def copy_in(
    typing: Any,
    image: Any,
    origin: Any,
    step: Any,
    batch: Any,
    packed: Any,
    start: Any,
    slots: Any,
    first: Any,
    count: Any,
    vectors: Any,
    apart: Any,
) -> Any:
    """Copies `count` positions, so many vectors of the batch each, from the image.

    origin, step  of the positions in the image
    batch         how many numbers of the batch there are; in vectors that reach further, the rest is 0
    start, slots  position k goes to packed[start + slots[first + k]:]
    apart         from one vector of a position to the next in the packed array
    """
    arguments = (image, origin, step, batch, packed, start, slots, first, count, vectors, apart)
    return types.void(*arguments), _build_copy_in


@emitted
def copy_out(
    typing: Any,
    image: Any,
    origin: Any,
    step: Any,
    batch: Any,
    packed: Any,
    start: Any,
    slots: Any,
    first: Any,
    count: Any,
    vectors: Any,
    apart: Any,
) -> Any:
    """The inverse of `copy_in`."""
    arguments = (image, origin, step, batch, packed, start, slots, first, count, vectors, apart)
    return types.void(*arguments), _build_copy_out


@emitted
def clear(typing: Any, packed: Any, begin: Any, end: Any) -> Any:
    """packed[begin:end] = 0, in whole vectors."""
    return types.void(packed, begin, end), _build_clear


def _build_copy_in(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    vectors = Vectors(context, builder, signature.args[0])

    def copy(place: Value, mask: Value, line: Value) -> None:
        vectors.store(vectors.load(place) if mask is None else vectors.load_some(place, mask), line)

    _for_each_line(vectors, plain(context, builder, signature, arguments), copy)
    return context.get_dummy_value()


def _build_copy_out(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    vectors = Vectors(context, builder, signature.args[0])

    def copy(place: Value, mask: Value, line: Value) -> None:
        if mask is None:
            vectors.store(vectors.load(line), place)
        else:
            vectors.store_some(vectors.load(line), place, mask)

    _for_each_line(vectors, plain(context, builder, signature, arguments), copy)
    return context.get_dummy_value()


def _for_each_line(vectors: Vectors, arguments: list[Value], copy: Any) -> None:
    image, origin, step, batch, packed, start, slots, first, count, many, apart = arguments
    builder = vectors.builder
    image, packed, one = vectors.at(image, origin), vectors.at(packed, start), INT64(1)
    whole = builder.icmp_signed(">=", batch, builder.mul(many, INT64(vectors.lanes)))  # no mask: a tenth faster
    with cgutils.for_range_slice(builder, INT64(0), count, one) as (position, _):
        inner = vectors.at(packed, vectors.integer(slots, builder.add(first, position)))
        outer = vectors.at(image, builder.mul(position, step))
        with builder.if_else(whole) as (all_there, some_missing):
            with all_there, cgutils.for_range_slice(builder, INT64(0), many, one) as (v, _):
                far = builder.mul(v, INT64(vectors.lanes))
                copy(vectors.at(outer, far), None, vectors.at(inner, builder.mul(v, apart)))
            with some_missing, cgutils.for_range_slice(builder, INT64(0), many, one) as (v, _):
                far = builder.mul(v, INT64(vectors.lanes))
                mask = vectors.below(builder.sub(batch, far), vectors.lanes)
                copy(vectors.at(outer, far), mask, vectors.at(inner, builder.mul(v, apart)))


def _build_clear(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    packed, begin, end = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    with cgutils.for_range_slice(builder, begin, end, INT64(vectors.lanes)) as (place, _):
        vectors.store(vectors.zero, vectors.at(packed, place))
    return context.get_dummy_value()
