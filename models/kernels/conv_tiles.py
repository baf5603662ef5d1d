"""One tile of a convolution in vector registers: the innermost loops.

A tile is QUADS times four vectors of one output channel. In the source each quad is four neighbouring vectors, at a
place of its own. A connection reads them all at the same further offset: one multiplication and addition per vector.
Numba's own loops would use half of each register where there are 512 bits, and store sums after each connection.

tiles[t], int64 [TILE]: of each quad its place in the source, its place in the image of outputs, and how many of
its vectors are there; then the steps from a quad's first vector to its second and to its third in that image.
"""

from typing import Any

from numba import types

from models.kernels.vectors import INT64, LINES, QUADS, Value, Vectors, cgutils, each, emitted, opaque, plain

TILE = 3 * QUADS + 2
OUTSIDE, INSIDE = 0, -1  # of half a quad, in `masks`: none or all of its lanes


@emitted
def accumulate(
    typing: Any,
    source: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    values: Any,
    begin: Any,
    end: Any,
    bias: Any,
    out: Any,
    origin: Any,
) -> Any:
    """A tile of out[origin:] = bias + the connections begin:end, in whole vectors."""
    return types.void(source, tiles, t, offsets, values, begin, end, source.dtype, out, origin), _build_accumulate


@emitted
def accumulate_masked(
    typing: Any,
    source: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    values: Any,
    begin: Any,
    end: Any,
    bias: Any,
    out: Any,
    origin: Any,
    taps: Any,
    masks: Any,
    at: Any,
) -> Any:
    """The same where the tile meets the border of the source.

    taps  [nnz]              of each connection
    masks [taps, QUADS, 2]   INSIDE or OUTSIDE, where the tap reads 0: of each half quad, in masks[at:]
    """
    arguments = (source, tiles, t, offsets, values, begin, end, source.dtype, out, origin, taps, masks, at)
    return types.void(*arguments), _build_accumulate


def _build_accumulate(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    source, tiles, t, offsets, values, begin, end, bias, out, origin, *border = plain(
        context, builder, signature, arguments
    )
    vectors = Vectors(context, builder, signature.args[0])
    tile = _tile(vectors, tiles, t)
    totals = [cgutils.alloca_once(builder, vectors.vector) for _ in range(LINES)]
    start = vectors.splat(bias, vectors.lanes)
    for total in totals:
        builder.store(start, total)
    _add_connections(vectors, source, tile, offsets, values, begin, end, totals, border)
    out = vectors.at(out, origin)
    for k, (there, place) in enumerate(_destinations(vectors, tile)):
        with builder.if_then(there):
            vectors.store(builder.load(totals[k]), vectors.at(out, place))
    return context.get_dummy_value()


@emitted
def accumulate_packed(
    typing: Any,
    packed: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    values: Any,
    begin: Any,
    end: Any,
    first: Any,
    bias: Any,
    sums: Any,
    slot: Any,
) -> Any:
    """Adds the connections begin:end to a tile's sums in sums[slot:], which start from `bias` where `first`."""
    return types.void(packed, tiles, t, offsets, values, begin, end, first, packed.dtype, sums, slot), _build_packed


def _build_packed(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    packed, tiles, t, offsets, values, begin, end, first, bias, sums, slot = plain(
        context, builder, signature, arguments
    )
    vectors = Vectors(context, builder, signature.args[0])
    tile = _tile(vectors, tiles, t)
    totals = [cgutils.alloca_once(builder, vectors.vector) for _ in range(LINES)]
    sums = vectors.at(sums, slot)
    vectors.begin_sums(totals, first, lambda: vectors.splat(bias, vectors.lanes), sums)
    _add_connections(vectors, packed, tile, offsets, values, begin, end, totals, [])
    for k, total in enumerate(totals):
        vectors.store(builder.load(total), vectors.plus(sums, k))
    return context.get_dummy_value()


@emitted
def gather(typing: Any, image: Any, tiles: Any, t: Any, origin: Any, gathered: Any, slot: Any) -> Any:
    """gathered[slot:] = a tile of image[origin:], 0 where the tile leaves the image. Returns its sum."""
    return image.dtype(image, tiles, t, origin, gathered, slot), _build_gather


def _build_gather(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    image, tiles, t, origin, gathered, slot = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    tile = _tile(vectors, tiles, t)
    image, gathered = vectors.at(image, origin), vectors.at(gathered, slot)
    values = []
    for k, (there, place) in enumerate(_destinations(vectors, tile)):
        before = builder.basic_block
        with builder.if_then(there):
            loaded = vectors.load(vectors.at(image, place))
            inside = builder.basic_block
        value = builder.phi(vectors.vector)
        value.add_incoming(vectors.zero, before)
        value.add_incoming(loaded, inside)
        vectors.store(value, vectors.plus(gathered, k))
        values.append(value)
    return vectors.total(values)


@emitted
def correlate_tile(
    typing: Any,
    source: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    begin: Any,
    end: Any,
    gathered: Any,
    slot: Any,
    grad: Any,
) -> Any:
    """grad[p] += the products of gathered[slot:] with what connection p reads, for each p of begin:end."""
    return types.void(source, tiles, t, offsets, begin, end, gathered, slot, grad), _build_correlate


@emitted
def correlate_masked(
    typing: Any,
    source: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    begin: Any,
    end: Any,
    gathered: Any,
    slot: Any,
    grad: Any,
    taps: Any,
    masks: Any,
    at: Any,
) -> Any:
    """The same where the tile meets the border of the source; see `accumulate_masked`."""
    return types.void(source, tiles, t, offsets, begin, end, gathered, slot, grad, taps, masks, at), _build_correlate


def _build_correlate(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    source, tiles, t, offsets, begin, end, gathered, slot, grad, *border = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    tile = _tile(vectors, tiles, t)
    gathered = vectors.at(gathered, slot)
    ys = [vectors.load(vectors.plus(gathered, k)) for k in range(LINES)]
    quads = [vectors.at(source, place) for place in vectors.integers(tile, 0, QUADS)]
    with cgutils.for_range_slice(builder, begin, end, INT64(4)) as (p, _):
        left = builder.sub(end, p)
        four = [p]
        for k in range(1, 4):
            there = builder.icmp_signed("<", INT64(k), left)
            four.append(builder.select(there, builder.add(p, INT64(k)), p))
        offsets_of_four = [vectors.integer(offsets, each) for each in four]
        masks_of_four = [_masks(vectors, border, each) for each in four]
        # Two sums for each of four connections: as many as the processor can have under way, if they take turns.
        totals: list[Value] = [None] * 8
        for k, y in enumerate(ys):
            if k % 4 == 0:
                places = [opaque(builder, vectors.at(quads[k // 4], offset)) for offset in offsets_of_four]
            for connection, place in enumerate(places):
                x = _load(vectors, vectors.plus(place, k % 4), masks_of_four[connection], k)
                which = 2 * connection + k % 2
                totals[which] = builder.fmul(x, y) if k < 2 else vectors.multiply_add(x, y, totals[which])
        sums = vectors.four_sums(*(vectors.add_apart(*totals[2 * k : 2 * k + 2]) for k in range(4)))
        place, mask = vectors.at(grad, p), vectors.below(left, 4)
        vectors.store_some(vectors.add(vectors.load_some(place, mask), sums), place, mask)
    return context.get_dummy_value()


def _tile(vectors: Vectors, tiles: Value, t: Value) -> Value:
    return vectors.at(tiles, vectors.builder.mul(t, INT64(TILE)))


def _add_connections(
    vectors: Vectors,
    source: Value,
    tile: Value,
    offsets: Value,
    values: Value,
    begin: Value,
    end: Value,
    totals: list[Value],
    border: list[Value],
) -> None:
    builder = vectors.builder
    quads = [vectors.at(source, place) for place in vectors.integers(tile, 0, QUADS)]
    for p in each(builder, begin, end, 1):
        offset = vectors.integer(offsets, p)
        value = vectors.splat(builder.load(vectors.at(values, p)), vectors.lanes)
        masks = _masks(vectors, border, p)
        for k, total in enumerate(totals):
            if k % 4 == 0:
                quad = opaque(builder, vectors.at(quads[k // 4], offset))
            x = _load(vectors, vectors.plus(quad, k % 4), masks, k)
            builder.store(vectors.multiply_add(value, x, builder.load(total)), total)


def _masks(vectors: Vectors, border: list[Value], p: Value) -> list[Value]:
    """Of connection p, for each half quad; none where the tile does not meet the border."""
    if not border:
        return []
    taps, masks, at = border
    first = vectors.builder.add(at, vectors.builder.mul(vectors.integer(taps, p), INT64(2 * QUADS)))
    return [vectors.bits(masks, vectors.builder.add(first, INT64(k))) for k in range(2 * QUADS)]


def _load(vectors: Vectors, place: Value, masks: list[Value], k: int) -> Value:
    return vectors.load_some(place, masks[k // 2]) if masks else vectors.load(place)


def _destinations(vectors: Vectors, tile: Value) -> list[tuple[Value, Value]]:
    """Of each vector of a tile: whether it is there, and its place in the image of outputs."""
    builder = vectors.builder
    places, counts = vectors.integers(tile, QUADS, QUADS), vectors.integers(tile, 2 * QUADS, QUADS)
    one, two = vectors.integers(tile, 3 * QUADS, 2)
    steps = [INT64(0), one, two, builder.add(one, two)]
    return [
        (builder.icmp_signed("<", INT64(k % 4), counts[k // 4]), builder.add(places[k // 4], steps[k % 4]))
        for k in range(LINES)
    ]
