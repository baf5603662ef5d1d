"""One tile of a convolution in vector registers: the innermost loops.

A tile is QUADS times four vectors of one output channel. In the source each quad is four neighbouring vectors, at a
place of its own. A connection reads them all at the same further offset: one multiplication and addition per vector.
Numba's own loops would use half of each register where there are 512 bits, and store sums after each connection.

tiles[t], int64 [TILE]: of each quad its place in the source, its place in the image of outputs, and how many of
its vectors are there; then the steps from a quad's first vector to its second and to its third in that image.
"""

from typing import Any

from numba import types

from models.kernels.vectors import (
    INT64,
    LINES,
    QUADS,
    WIDE,
    Value,
    Vectors,
    cgutils,
    each,
    emitted,
    opaque,
    plain,
    whole_fours,
)

TILE = 3 * QUADS + 2
OUTSIDE, INSIDE = 0, -1  # of half a quad, in `masks`: none or all of its lanes

# Vectors of a tile that stay in registers where it has sums and products; each connection reads the others anew.
_HELD = 6 if WIDE else 0


@emitted
def visit(
    typing: Any,
    source: Any,
    tiles: Any,
    t: Any,
    offsets: Any,
    begin: Any,
    end: Any,
    border: Any,
    at: Any,
    sums: Any,
    o: Any,
    fresh: Any,
    out: Any,
    place: Any,
    products: Any,
    fixed: Any,
    slot: Any,
) -> Any:
    """The connections begin:end of a tile: their sums, their products, or both, which read the source once for both.

    border    None, or where the tile meets the border of the source (taps, masks):
              taps  [nnz]             of each connection
              masks [taps, QUADS, 2]  INSIDE or OUTSIDE, where the tap reads 0: of each half quad, in masks[at:]
    sums      None, or (values [nnz], bias [outputs]): out[place:], LINES vectors, are those or if fresh bias[o], plus
              the connections. Of an image, which has four dimensions, it is the tile's places, and always fresh
    products  None, or (any, grad [nnz]): what p reads times the LINES vectors at fixed[slot:] is added to grad[p]
    """
    arguments = (source, tiles, t, offsets, begin, end, border, at, sums, o, fresh, out, place, products, fixed, slot)
    packed = out.ndim == 1

    def build(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
        given = plain(context, builder, signature, arguments)
        source, tiles, t, offsets, begin, end, border, at, sums, o, fresh, out, place, products, fixed, slot = given
        vectors = Vectors(context, builder, signature.args[0])
        tile = _tile(vectors, tiles, t)
        quads = [vectors.at(source, place) for place in vectors.integers(tile, 0, QUADS)]
        totals = [cgutils.alloca_once(builder, vectors.vector) for _ in range(LINES if sums else 0)]
        if sums:
            values, bias = sums
            out = vectors.at(out, place)
            initial = builder.load(vectors.at(bias, o))
            vectors.begin_sums(totals, fresh, lambda: vectors.splat(initial, vectors.lanes), out)
        if products:
            _, grad = products
            fixed = vectors.at(fixed, slot)
            held = [vectors.load(vectors.plus(fixed, k)) for k in range(_HELD if sums else LINES)]

        def connection(p: Value) -> Value:
            """Its product in two parts, as sums of many terms wait for each other."""
            offset, masks = vectors.integer(offsets, p), _masks(vectors, border, at, p) if border else []
            value = vectors.splat(builder.load(vectors.at(values, p)), vectors.lanes) if sums else None
            parts: list[Value] = []
            # Where LLVM does not know it, it cannot read them all before the loop, and then from the stack.
            beside = opaque(builder, fixed) if products else None
            for k in range(LINES):
                if k % 4 == 0:
                    quad = opaque(builder, vectors.at(quads[k // 4], offset))
                x = _load(vectors, vectors.plus(quad, k % 4), masks, k)
                if products:
                    y = held[k] if k < len(held) else vectors.load(vectors.plus(beside, k))
                    if k < 2:
                        parts.append(builder.fmul(x, y))
                    else:
                        parts[k % 2] = vectors.multiply_add(x, y, parts[k % 2])
                if sums:
                    builder.store(vectors.multiply_add(value, x, builder.load(totals[k])), totals[k])
            return vectors.add_apart(*parts) if products else None

        if products:
            whole = whole_fours(builder, begin, end)
            for p in each(builder, begin, whole, 4):
                four = [connection(builder.add(p, INT64(k))) for k in range(4)]
                vectors.add_to(vectors.at(grad, p), vectors.four_sums(*four))
            for p in each(builder, whole, end, 1):
                vectors.add_to(vectors.at(grad, p), vectors.total([connection(p)]))
        else:
            for p in each(builder, begin, end, 1):
                connection(p)
        if sums and packed:
            for k, total in enumerate(totals):
                vectors.store(builder.load(total), vectors.plus(out, k))
        elif sums:
            for total, (there, further) in zip(totals, _destinations(vectors, tile), strict=True):
                with builder.if_then(there):
                    vectors.store(builder.load(total), vectors.at(out, further))
        return context.get_dummy_value()

    return types.void(*arguments), build


@emitted
def gather(typing: Any, image: Any, tiles: Any, t: Any, origin: Any, gathered: Any) -> Any:
    """gathered = a tile of image[origin:], 0 where the tile leaves the image."""
    return types.void(image, tiles, t, origin, gathered), _build_gather


def _build_gather(context: Value, builder: Value, signature: Value, arguments: Value) -> Value:
    image, tiles, t, origin, gathered = plain(context, builder, signature, arguments)
    vectors = Vectors(context, builder, signature.args[0])
    tile = _tile(vectors, tiles, t)
    image = vectors.at(image, origin)
    for k, (there, place) in enumerate(_destinations(vectors, tile)):
        before = builder.basic_block
        with builder.if_then(there):
            loaded = vectors.load(vectors.at(image, place))
            inside = builder.basic_block
        value = builder.phi(vectors.vector)
        value.add_incoming(vectors.zero, before)
        value.add_incoming(loaded, inside)
        vectors.store(value, vectors.plus(gathered, k))
    return context.get_dummy_value()


def _tile(vectors: Vectors, tiles: Value, t: Value) -> Value:
    return vectors.at(tiles, vectors.builder.mul(t, INT64(TILE)))


def _masks(vectors: Vectors, border: list[Value], at: Value, p: Value) -> list[Value]:
    """Of connection p, for each half quad."""
    taps, masks = border
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
