from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from models.kernels import linear

Array = np.ndarray[Any, Any]

TYPES = [np.float32, np.float64]
# Beyond which dense and sparse sums of the same numbers may not differ, as a share of the sum of their absolute values.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


@dataclass
class Layer:
    """A sparse matrix, dense and compressed, with inputs, a bias and gradients of the outputs."""

    weight: Array
    x: Array
    dy: Array
    bias: Array

    def __post_init__(self) -> None:
        self.active = self.weight != 0
        self.values = self.weight[self.active]
        self.columns = np.nonzero(self.active)[1].astype(np.int32)
        self.rows = np.nonzero(self.active.T)[1].astype(np.int32)
        places = np.zeros(self.active.shape, np.int32)
        places[self.active] = np.arange(self.values.size)
        self.order = places.T[self.active.T]
        by_rows, by_columns = (np.append(0, active.sum(1).cumsum()) for active in (self.active, self.active.T))
        rows, width = self.active.shape
        self.starts = {"plain": by_rows, "blocks": linear.blocks(by_rows, self.columns, width)}
        self.starts_t = {"plain": by_columns, "blocks": linear.blocks(by_columns, self.rows, rows)}

    def multiply(self, by: str = "blocks", bias: bool = True) -> Array:
        y = np.full((self.weight.shape[0], self.x.shape[1]), np.nan, self.x.dtype)
        added = self.bias if bias else self.bias[:0]
        linear.multiply(self.starts[by], self.columns, self.values, self.x, added, y)
        return y

    def multiply_transposed(self, by: str = "blocks") -> Array:
        dx = np.full((self.weight.shape[1], self.x.shape[1]), np.nan, self.x.dtype)
        linear.multiply_transposed(self.starts_t[by], self.rows, self.order, self.values, self.dy, dx)
        return dx

    def multiply_transposed_by_rows(self, by: str = "blocks") -> Array:
        dx = np.full((self.weight.shape[1], self.x.shape[1]), np.nan, self.x.dtype)
        linear.multiply_transposed_by_rows(self.starts[by], self.columns, self.values, self.dy, dx)
        return dx

    def correlate(self, by: str = "blocks") -> Array:
        grad = np.full(self.values.size, np.nan, self.x.dtype)
        linear.correlate(self.starts[by], self.columns, self.x, self.dy, grad)
        return grad


def layer(rows: int, width: int, density: float, batch: int, dtype: type, seed: int = 0) -> Layer:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((rows, width)) * (random.random((rows, width)) < density)
    x, dy = random.standard_normal((width, batch)), random.standard_normal((rows, batch))
    return Layer(*(array.astype(dtype) for array in (weight, x, dy, random.standard_normal(rows))))


def assert_close(result: Array, expected: Array, size: Array) -> None:
    """size: sums of the absolute values of what was added up."""
    assert result.shape == expected.shape
    excess = np.abs(result - expected) - TOLERANCE[result.dtype.type] * size
    assert (excess <= 0).all(), f"off by {np.abs(result - expected).max()} of {np.abs(expected).max()}"


def assert_right(layer: Layer, by: str) -> None:
    weight, x, dy, bias = (a.astype(np.float64) for a in (layer.weight, layer.x, layer.dy, layer.bias))
    product, size = weight @ x, abs(weight) @ abs(x)
    assert_close(layer.multiply(by), product + bias[:, None], size + abs(bias)[:, None])
    assert_close(layer.multiply(by, bias=False), product, size)
    assert_close(layer.multiply_transposed(by), weight.T @ dy, abs(weight).T @ abs(dy))
    np.testing.assert_array_equal(layer.multiply_transposed_by_rows(by), layer.multiply_transposed(by))
    assert_close(layer.correlate(by), (dy @ x.T)[layer.active], (abs(dy) @ abs(x).T)[layer.active])


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 400),
    density=st.sampled_from([0, 0.02, 0.1, 0.5, 1]),
    batch=st.integers(1, 300) | st.sampled_from([16, 32, 64, 128, 256]),
    dtype=st.sampled_from(TYPES),
    by=st.sampled_from(["plain", "blocks"]),
    seed=st.integers(0, 2**32),
)
def test_the_three_products_are_those_of_the_dense_matrix(
    rows: int, width: int, density: float, batch: int, dtype: type, by: str, seed: int
) -> None:
    assert_right(layer(rows, width, density, batch, dtype, seed), by)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("batch", [1, 3, 16, 17, 37, 100, 128, 131, 255])
def test_any_batch_is_computed_to_its_last_column(batch: int, dtype: type) -> None:
    for by in ("plain", "blocks"):
        assert_right(layer(30, 500, 0.3, batch, dtype), by)


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_and_columns_without_connections_are_bias_and_zero(dtype: type) -> None:
    empty = layer(7, 300, 0.4, 33, dtype)
    weight = empty.weight.copy()
    weight[[0, 3, 6]] = 0
    weight[:, :200] = 0
    sparse = Layer(weight, empty.x, empty.dy, empty.bias)
    assert_right(sparse, "blocks")
    np.testing.assert_array_equal(sparse.multiply()[3], np.full(33, sparse.bias[3]))
    np.testing.assert_array_equal(sparse.multiply_transposed()[:200], 0)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 900), (900, 1), (60, 900), (900, 60)])
def test_a_full_matrix_is_a_sparse_one(rows: int, width: int, dtype: type) -> None:
    for by in ("plain", "blocks"):
        assert_right(layer(rows, width, 1, 48, dtype), by)


@pytest.mark.parametrize(
    ("width", "batch"), [(900, 128), (5000, 32), (5000, 256)], ids=["one by one", "some at once", "in tiles"]
)
def test_blocks_change_no_bit_of_the_products(width: int, batch: int) -> None:
    large = layer(40, width, 0.2, batch, np.float32)
    assert large.starts["blocks"].size > large.starts["plain"].size
    np.testing.assert_array_equal(large.multiply("blocks"), large.multiply("plain"))
    np.testing.assert_array_equal(large.multiply_transposed("blocks"), large.multiply_transposed("plain"))


def test_the_same_inputs_give_the_same_bits_wherever_they_lie() -> None:
    first = layer(50, 700, 0.3, 100, np.float32)
    x, dy = np.empty(first.x.size + 1, np.float32), np.empty(first.dy.size + 3, np.float32)
    x[1:], dy[3:] = first.x.ravel(), first.dy.ravel()
    second = Layer(first.weight, x[1:].reshape(first.x.shape), dy[3:].reshape(first.dy.shape), first.bias)
    np.testing.assert_array_equal(first.multiply(), second.multiply())
    np.testing.assert_array_equal(first.multiply_transposed(), second.multiply_transposed())
    np.testing.assert_array_equal(first.correlate(), second.correlate())


@settings(deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 30),
    width=st.integers(1, 900) | st.just(900),
    density=st.sampled_from([0, 0.01, 0.03, 0.1, 0.3, 1]),
    seed=st.integers(0, 2**32),
)
def test_blocks_are_pieces_of_each_row_in_order_and_cost_about_a_byte_for_each_connection(
    rows: int, width: int, density: float, seed: int
) -> None:
    sparse = layer(rows, width, density, 1, np.float32, seed)
    starts, blocks = sparse.starts["plain"], sparse.starts["blocks"]
    if blocks.size == rows + 1:
        np.testing.assert_array_equal(blocks, starts)
        return
    pieces = blocks.reshape(-1, rows)
    np.testing.assert_array_equal(pieces[0], starts[:-1])
    np.testing.assert_array_equal(pieces[-1], starts[1:])
    assert blocks.nbytes - starts.nbytes <= sparse.values.size
    last = -1
    for begins, ends in pairwise(pieces):
        columns = np.concatenate([sparse.columns[p:q] for p, q in zip(begins, ends, strict=True)])
        assert columns.min(initial=width) > last
        last = columns.max(initial=last)


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("batch", [5, 37, 128])
def test_what_is_not_finite_reaches_its_own_samples_and_no_others(number: float, batch: int) -> None:
    broken = layer(20, 300, 0.5, batch, np.float32)
    broken.x[7, batch - 1] = number
    broken.dy[3, 0] = number
    y, dx, grad = broken.multiply(), broken.multiply_transposed(), broken.correlate()
    reached = np.zeros(y.shape, bool)
    reached[broken.active[:, 7], batch - 1] = True
    np.testing.assert_array_equal(~np.isfinite(y), reached)
    reached = np.zeros(dx.shape, bool)
    reached[broken.active[3], 0] = True
    np.testing.assert_array_equal(~np.isfinite(dx), reached)
    rows, columns = np.nonzero(broken.active)
    np.testing.assert_array_equal(~np.isfinite(grad), (rows == 3) | (columns == 7))


def test_an_infinity_that_two_tiles_read_stays_one() -> None:
    """A batch of 20 is one vector and another that begins at 4: what both read counts once."""
    broken = layer(20, 30, 0.5, 20, np.float32)
    broken.x[7, 10], broken.dy[:, 10] = np.inf, 1
    columns = np.nonzero(broken.active)[1]
    assert (broken.correlate()[columns == 7] == np.inf).all()


def test_nothing_beyond_the_outputs_is_written() -> None:
    for batch in (3, 37, 128):
        inside = layer(10, 50, 0.5, batch, np.float32)
        space = np.full(10 * batch + 64, 7, np.float32)
        y = space[32:-32].reshape(10, batch)
        linear.multiply(inside.starts["plain"], inside.columns, inside.values, inside.x, inside.bias, y)
        np.testing.assert_array_equal(y, inside.multiply("plain"))
        np.testing.assert_array_equal(np.concatenate([space[:32], space[-32:]]), 7)


def test_other_compiled_functions_can_call_the_kernels() -> None:
    @njit
    def twice(starts: Array, columns: Array, values: Array, x: Array, bias: Array, y: Array) -> None:
        linear.multiply(starts, columns, values, x, bias, y)
        linear.multiply(starts, columns, values, y.copy(), bias, y)

    square = layer(40, 40, 0.3, 20, np.float64)
    y = np.empty((40, 20))
    twice(square.starts["plain"], square.columns, square.values, square.x, square.bias, y)
    bias = square.bias[:, None]
    np.testing.assert_allclose(y, square.weight @ (square.weight @ square.x + bias) + bias, atol=1e-10)
