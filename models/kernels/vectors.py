"""Vectors of numbers in LLVM's own language: what the inner loops are written with."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import numba.core.cgutils
import numba.np.arrayobj
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

FEATURES = binding.get_host_cpu_features()
WIDE = bool(FEATURES.get("avx512f"))
FUSED = bool(FEATURES.get("fma"))

LINE = 64  # bytes of the cache
BYTES = 64 if WIDE else 32  # of a register
QUADS = 4 if WIDE else 2  # in a tile: its sums fill half of the registers
LINES = 4 * QUADS  # vectors in a tile

Value = Any  # of LLVM, which is not typed
cgutils: Any = numba.core.cgutils  # nor are these
arrayobj: Any = numba.np.arrayobj

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def emitted(emit: Callable[..., Value]) -> Callable[..., Any]:
    """A function for kernels to call, whose code `emit` writes; it gets a typing context before the arguments."""
    return cast(Callable[..., Any], intrinsic(emit))


def plain(context: Value, builder: Value, signature: Value, arguments: Value) -> list[Value]:
    """The arguments, arrays as the address of their first number, tuples as lists of such, None as None."""

    def pointer(kind: Value, argument: Value) -> Value:
        if isinstance(kind, types.Array):
            return arrayobj.make_array(kind)(context, builder, argument).data
        if isinstance(kind, types.BaseTuple):
            return [
                pointer(inner, builder.extract_value(argument, k)) for k, inner in enumerate(cast(Value, kind).types)
            ]
        return None if isinstance(kind, types.NoneType) else argument

    return [pointer(*both) for both in zip(signature.args, arguments, strict=True)]


def each(builder: Value, begin: Value, end: Value, step: int) -> Iterator[Value]:
    """Code for each number from begin to end, of which there may be none.

    LLVM cannot see how often: it would go two connections at a time, and the one left would be a branch of its own.
    """
    body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
    before = builder.block
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    number = builder.phi(INT64)
    number.add_incoming(begin, before)
    yield number
    following = opaque(builder, builder.add(number, INT64(step)))
    number.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), body, after)
    builder.position_at_end(after)


def opaque(builder: Value, value: Value) -> Value:
    """The value, in a register; what LLVM knows of it ends here."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


def whole_fours(builder: Value, begin: Value, end: Value) -> Value:
    """Where the last whole four of the numbers from begin on end."""
    return builder.add(begin, builder.and_(builder.sub(end, begin), INT64(-4)))


class Vectors:
    """Vectors of one kind of number: as many bytes each, those of a register or a power of two of them."""

    def __init__(self, context: Value, builder: Value, array: Value, width: int = BYTES) -> None:
        self.builder, self.number = builder, context.get_data_type(array.dtype)
        self.size = 4 if isinstance(self.number, ir.FloatType) else 8
        self.lanes = width // self.size
        self.vector = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.vector, None)

    def at(self, data: Value, offset: Value) -> Value:
        return self.builder.gep(data, [offset])

    def plus(self, data: Value, vectors: int) -> Value:
        return self.at(data, INT64(vectors * self.lanes))

    def integer(self, data: Value, place: Value | int) -> Value:
        """data[place], as 64 bits."""
        value = self.builder.load(self.at(data, INT64(place) if isinstance(place, int) else place))
        return value if value.type.width == 64 else self.builder.sext(value, INT64)

    def integers(self, data: Value, first: int, count: int) -> list[Value]:
        return [self.integer(data, first + k) for k in range(count)]

    def splat(self, value: Value, lanes: int) -> Value:
        vector = ir.VectorType(value.type, lanes)
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, INT32(0))
        return self.shuffle(first, first, [0] * lanes)

    def shuffle(self, a: Value, b: Value, lanes: list[int]) -> Value:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), lanes))

    def load(self, data: Value) -> Value:
        return self.builder.load(self.builder.bitcast(data, self.vector.as_pointer()), align=self.size)

    def store(self, value: Value, data: Value) -> None:
        self.builder.store(value, self.builder.bitcast(data, self.vector.as_pointer()), align=self.size)

    def add_to(self, data: Value, value: Value) -> None:
        """Adds a number, or a few, to those at data."""
        pointer = self.builder.bitcast(data, value.type.as_pointer())
        self.builder.store(self.add(value, self.builder.load(pointer, align=self.size)), pointer, align=self.size)

    def begin_sums(self, totals: list[Value], fresh: Value, initial: Callable[[], Value], data: Value) -> None:
        """Each of some places of sums: what `initial` writes code for if fresh, and else its vector of data."""
        with self.builder.if_else(fresh) as (from_initial, from_data):
            with from_initial:
                start = initial()
                for total in totals:
                    self.builder.store(start, total)
            with from_data:
                for k, total in enumerate(totals):
                    self.builder.store(self.load(self.plus(data, k)), total)

    def prefetch(self, data: Value) -> None:
        """Asks for the cache line of an address, at which there need be nothing."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, soon, of_data = INT32(0), INT32(3), INT32(1)
        self.builder.call(function, [self.builder.bitcast(data, byte), read, soon, of_data])

    def below(self, count: Value, lanes: int) -> Value:
        """Which lanes are below `count`, which may be anything."""
        fewer = self.builder.icmp_signed("<", count, INT64(lanes))
        count = self.builder.trunc(self.builder.select(fewer, count, INT64(lanes)), INT32)
        numbers = ir.Constant(ir.VectorType(INT32, lanes), list(range(lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(count, lanes))

    def bits(self, masks: Value, place: Value) -> Value:
        """The lanes whose bits are set in the 16 of masks[place]."""
        bits = self.builder.load(self.at(masks, place))
        if self.lanes < 16:
            bits = self.builder.trunc(bits, ir.IntType(self.lanes))
        return self.builder.bitcast(bits, ir.VectorType(ir.IntType(1), self.lanes))

    def load_some(self, data: Value, mask: Value) -> Value:
        """0 in all other lanes, whose memory is not touched."""
        vector = ir.VectorType(self.number, mask.type.count)
        pointer = self.builder.bitcast(data, vector.as_pointer())
        kind = ir.FunctionType(vector, [pointer.type, INT32, mask.type, vector])
        load = self._intrinsic("masked.load", kind, vector, ".p0")
        return self.builder.call(load, [pointer, INT32(self.size), mask, ir.Constant(vector, None)])

    def store_some(self, value: Value, data: Value, mask: Value) -> None:
        pointer = self.builder.bitcast(data, value.type.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [value.type, pointer.type, INT32, mask.type])
        store = self._intrinsic("masked.store", kind, value.type, ".p0")
        self.builder.call(store, [value, pointer, INT32(self.size), mask])

    def add(self, a: Value, b: Value) -> Value:
        return self.builder.fadd(a, b)

    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c; where the processor can do it at once, sums are taken in the order written here."""
        if not FUSED:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(self._intrinsic("fma", kind, self.vector), [a, b, c])

    def add_apart(self, a: Value, b: Value) -> Value:
        """a + b, two long sums that LLVM must not make one: each would wait for the other's last term."""
        kind = ir.FunctionType(self.vector, [self.vector])
        fence = self._intrinsic("arithmetic.fence", kind, self.vector)
        return self.add(self.builder.call(fence, [a]), self.builder.call(fence, [b]))

    def four_sums(self, a: Value, b: Value, c: Value, d: Value) -> Value:
        """[4]: the sum of each vector."""
        return self._folded(self._pairs(self._pairs(a, b), self._pairs(c, d)), 4)

    def _folded(self, vector: Value, lanes: int) -> Value:
        """Upper half onto lower half until so many are left."""
        while vector.type.count > lanes:
            half = vector.type.count // 2
            lower, upper = list(range(half)), list(range(half, 2 * half))
            vector = self.add(self.shuffle(vector, vector, lower), self.shuffle(vector, vector, upper))
        return vector

    def _pairs(self, a: Value, b: Value) -> Value:
        """a0 + a1, a2 + a3, b0 + b1, b2 + b3 of the first four lanes, and so on. Twice: each four are one of each."""
        even = [four + k for four in range(0, self.lanes, 4) for k in (0, 2, self.lanes, self.lanes + 2)]
        return self.add(self.shuffle(a, b, even), self.shuffle(a, b, [k + 1 for k in even]))

    def total(self, values: list[Value]) -> Value:
        """The sum of all numbers of some vectors."""
        while len(values) > 1:
            values = [self.add(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
        return self.builder.extract_element(self._folded(values[0], 1), INT32(0))

    def _intrinsic(self, name: str, kind: Value, vector: Value, more: str = "") -> Value:
        full = f"llvm.{name}.v{vector.count}{self.number.intrinsic_name}{more}"
        return cgutils.get_or_insert_function(self.builder.module, kind, full)
