"""Vectors of numbers in LLVM's own language: what conv_tiles is written with."""

from collections.abc import Callable
from typing import Any, cast

import numba.core.cgutils
import numba.np.arrayobj
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

FEATURES = binding.get_host_cpu_features()
WIDE = bool(FEATURES.get("avx512f"))
FUSED = bool(FEATURES.get("fma"))

BYTES = 64 if WIDE else 32  # of a vector
QUADS = 4 if WIDE else 2  # in a tile: its sums fill half of the registers
LINES = 4 * QUADS  # vectors in a tile

Value = Any  # of LLVM, which is not typed
cgutils: Any = numba.core.cgutils  # nor are these
arrayobj: Any = numba.np.arrayobj

INT16, INT32, INT64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)


def emitted(emit: Callable[..., Value]) -> Callable[..., Any]:
    """A function for kernels to call, whose code `emit` writes; it gets a typing context before the arguments."""
    return cast(Callable[..., Any], intrinsic(emit))


def plain(context: Value, builder: Value, signature: Value, arguments: Value) -> list[Value]:
    """The arguments, arrays as the address of their first number."""
    return [
        arrayobj.make_array(kind)(context, builder, argument).data if isinstance(kind, types.Array) else argument
        for kind, argument in zip(signature.args, arguments, strict=True)
    ]


class Vectors:
    """Vectors of one kind of number: BYTES each."""

    def __init__(self, context: Value, builder: Value, array: Value) -> None:
        self.builder, self.number = builder, context.get_data_type(array.dtype)
        self.size = 4 if isinstance(self.number, ir.FloatType) else 8
        self.lanes = BYTES // self.size
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
        half, quarter = self.lanes // 2, self.lanes // 4
        firsts = [*range(half), *range(self.lanes, self.lanes + half)]
        ab, cd = (
            self.add(self.shuffle(*pair, firsts), self.shuffle(*pair, [lane + half for lane in firsts]))
            for pair in ((a, b), (c, d))
        )
        firsts = [start + lane for start in range(0, 2 * self.lanes, half) for lane in range(quarter)]
        sums = self.add(self.shuffle(ab, cd, firsts), self.shuffle(ab, cd, [lane + quarter for lane in firsts]))
        apart = quarter // 2
        while apart:
            sums = self.add(sums, self.shuffle(sums, sums, [lane ^ apart for lane in range(self.lanes)]))
            apart //= 2
        return self.shuffle(sums, sums, [quarter * k for k in range(4)])

    def total(self, values: list[Value]) -> Value:
        """The sum of all numbers of some vectors."""
        while len(values) > 1:
            values = [self.add(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
        return self.builder.extract_element(self.four_sums(*values * 4), INT32(0))

    def _intrinsic(self, name: str, kind: Value, vector: Value, more: str = "") -> Value:
        full = f"llvm.{name}.v{vector.count}{self.number.intrinsic_name}{more}"
        return cgutils.get_or_insert_function(self.builder.module, kind, full)
