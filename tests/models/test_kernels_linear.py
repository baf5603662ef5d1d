from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from models.kernels import linear
from models.kernels.blocks import WINDOW, Columns, Rows, by_columns, by_rows
from models.kernels.structure import EVALUATION, STEPS, Structure

Array = np.ndarray[Any, Any]

TYPES = [np.float32, np.float64]
# Beyond which dense and sparse sums of the same numbers may not differ, as a share of the sum of their absolute values.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


BLOCKS = [1, 3, 7]


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
        self.structure = Structure.of(np.flatnonzero(self.active), self.active.shape)

    def by_rows(self, blocks: int = 0) -> Rows:
        """Of so many blocks; 0: row after row."""
        structure = self.structure
        if blocks == 0:
            return structure.plain
        return by_rows(structure.starts, structure.padded, structure.width, blocks)

    def by_columns(self, blocks: int = 0) -> Columns:
        structure = self.structure
        if blocks == 0:
            return structure.transposed
        return by_columns(structure.starts, structure.padded, structure.width, 1, blocks, WINDOW)

    def multiply(self, blocks: int = 0, bias: bool = True) -> Array:
        y = np.full((self.weight.shape[0], self.x.shape[1]), np.nan, self.x.dtype)
        added = self.bias if bias else self.bias[:0]
        linear.multiply(self.by_rows(blocks), self.values, self.x, added, y)
        return y

    def multiply_transposed(self, blocks: int = 0) -> Array:
        dx = np.full((self.weight.shape[1], self.x.shape[1]), np.nan, self.x.dtype)
        linear.multiply_transposed(self.by_columns(blocks), self.values, self.dy, dx)
        return dx

    def multiply_transposed_by_rows(self) -> Array:
        dx = np.full((self.weight.shape[1], self.x.shape[1]), np.nan, self.x.dtype)
        linear.multiply_transposed_by_rows(self.by_rows(), self.values, self.dy, dx)
        return dx

    def correlate(self, blocks: int = 0) -> Array:
        grad = np.full(self.values.size, np.nan, self.x.dtype)
        linear.correlate(self.by_rows(blocks), self.x, self.dy, grad)
        return grad

    def gradients(self, blocks: int = 0) -> tuple[Array, Array]:
        dx = np.full((self.weight.shape[1], self.x.shape[1]), np.nan, self.x.dtype)
        grad = np.full(self.values.size, np.nan, self.x.dtype)
        linear.gradients(self.by_columns(blocks), self.values, self.x, self.dy, dx, grad)
        return dx, grad


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


def assert_right(layer: Layer, blocks: int) -> None:
    weight, x, dy, bias = (a.astype(np.float64) for a in (layer.weight, layer.x, layer.dy, layer.bias))
    product, size = weight @ x, abs(weight) @ abs(x)
    assert_close(layer.multiply(blocks), product + bias[:, None], size + abs(bias)[:, None])
    assert_close(layer.multiply(blocks, bias=False), product, size)
    assert_close(layer.multiply_transposed(blocks), weight.T @ dy, abs(weight).T @ abs(dy))
    of_values, size = (dy @ x.T)[layer.active], (abs(dy) @ abs(x).T)[layer.active]
    assert_close(layer.correlate(blocks), of_values, size)
    dx, grad = layer.gradients(blocks)
    assert_close(grad, of_values, size)
    np.testing.assert_array_equal(dx, layer.multiply_transposed(blocks))
    np.testing.assert_array_equal(layer.multiply_transposed_by_rows(), layer.multiply_transposed())


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 90),
    width=st.integers(1, 400),
    density=st.sampled_from([0, 0.02, 0.1, 0.5, 1]),
    batch=st.integers(1, 300) | st.sampled_from([16, 32, 64, 128, 256]),
    dtype=st.sampled_from(TYPES),
    blocks=st.sampled_from([0, *BLOCKS]),
    seed=st.integers(0, 2**32),
)
def test_the_products_are_those_of_the_dense_matrix(
    rows: int, width: int, density: float, batch: int, dtype: type, blocks: int, seed: int
) -> None:
    assert_right(layer(rows, width, density, batch, dtype, seed), blocks)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("batch", [1, 3, 16, 17, 37, 100, 128, 131, 255])
def test_any_batch_is_computed_to_its_last_column(batch: int, dtype: type) -> None:
    for blocks in (0, 3):
        assert_right(layer(30, 500, 0.3, batch, dtype), blocks)


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_and_columns_without_connections_are_bias_and_zero(dtype: type) -> None:
    empty = layer(7, 300, 0.4, 33, dtype)
    weight = empty.weight.copy()
    weight[[0, 3, 6]] = 0
    weight[:, :200] = 0
    sparse = Layer(weight, empty.x, empty.dy, empty.bias)
    for blocks in (0, 3):
        assert_right(sparse, blocks)
    np.testing.assert_array_equal(sparse.multiply()[3], np.full(33, sparse.bias[3]))
    np.testing.assert_array_equal(sparse.multiply_transposed()[:200], 0)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 900), (900, 1), (60, 900), (900, 60)])
def test_a_full_matrix_is_a_sparse_one(rows: int, width: int, dtype: type) -> None:
    for blocks in (0, 3):
        assert_right(layer(rows, width, 1, 48, dtype), blocks)


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("batch", [128, 32, 256])
def test_blocks_change_no_bit_of_the_products(batch: int, blocks: int) -> None:
    large = layer(90, 900, 0.2, batch, np.float32)
    np.testing.assert_array_equal(large.multiply(blocks), large.multiply())
    np.testing.assert_array_equal(large.multiply_transposed(blocks), large.multiply_transposed())


def test_the_same_inputs_give_the_same_bits_wherever_they_lie() -> None:
    first = layer(50, 700, 0.3, 100, np.float32)
    x, dy = np.empty(first.x.size + 1, np.float32), np.empty(first.dy.size + 3, np.float32)
    x[1:], dy[3:] = first.x.ravel(), first.dy.ravel()
    second = Layer(first.weight, x[1:].reshape(first.x.shape), dy[3:].reshape(first.dy.shape), first.bias)
    np.testing.assert_array_equal(first.multiply(), second.multiply())
    np.testing.assert_array_equal(first.multiply_transposed(), second.multiply_transposed())
    np.testing.assert_array_equal(first.correlate(), second.correlate())
    for one, other in zip(first.gradients(3), second.gradients(3), strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 200),
    width=st.integers(1, 300),
    density=st.sampled_from([0, 0.01, 0.1, 0.3, 1]),
    blocks=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_blocks_hold_each_connection_once_and_short_pieces_of_a_window_first(
    rows: int, width: int, density: float, blocks: int, seed: int
) -> None:
    sparse = layer(rows, width, density, 1, np.float32, seed)
    numbers = np.arange(sparse.values.size)

    matrix = sparse.by_rows(blocks)
    lengths = np.diff(matrix.starts)
    of_row, places = np.repeat(matrix.rows, lengths), np.repeat(matrix.places - matrix.starts[:-1], lengths) + numbers
    assert sorted(places) == list(numbers)
    active = np.argwhere(sparse.active)
    np.testing.assert_array_equal(active[places], np.stack([of_row, matrix.columns[:-1]], axis=1))
    assert_in_blocks(matrix.starts, matrix.rows, matrix.columns[:-1], rows, -(-width // blocks))

    there = sparse.by_columns(blocks)
    of_column = np.repeat(there.columns, np.diff(there.starts))
    assert sorted(there.order) == list(numbers)
    np.testing.assert_array_equal(active[there.order], np.stack([there.rows[:-1], of_column], axis=1))
    assert_in_blocks(there.starts, there.columns, there.rows[:-1], width, -(-rows // blocks))


def assert_in_blocks(starts: Array, owners: Array, others: Array, count: int, size: int) -> None:
    lengths = np.diff(starts).reshape(-1, count)
    for block, (members, ordered) in enumerate(zip(owners.reshape(-1, count), lengths, strict=True)):
        for first in range(0, count, WINDOW):
            window = slice(first, first + WINDOW)
            assert sorted(members[window]) == list(range(first, min(first + WINDOW, count)))
            assert (np.diff(ordered[window]) >= 0).all()
        begin, end = starts[block * count], starts[(block + 1) * count]
        assert (others[begin:end] // size == block).all()
    for begin, end in pairwise(starts):
        assert (np.diff(others[begin:end]) > 0).all()


def test_as_many_blocks_are_taken_as_keep_what_is_read_near() -> None:
    """784-1000 at a tenth and batch 128: 79 features of half a kilobyte; where pieces would be short, none."""
    structure = layer(1000, 784, 0.1, 1, np.float32).structure
    assert structure.by_rows(128, 4).rows.size == 10 * 1000
    assert structure.by_rows(32, 4, STEPS).rows.size == 3 * 1000
    assert structure.by_columns(128, 4).columns.size == 15 * 784
    small = layer(100, 64, 0.5, 1, np.float32).structure
    assert small.by_rows(128, 4) is small.plain
    thin = layer(1000, 784, 0.02, 1, np.float32).structure
    assert thin.by_rows(128, 4) is thin.plain
    assert thin.by_columns(128, 4) is thin.transposed


def test_each_use_keeps_the_order_of_its_largest_batch() -> None:
    structure = layer(300, 784, 0.2, 1, np.float32).structure
    steps = structure.by_rows(32, 4, STEPS)
    first = structure.by_rows(128, 4)
    assert first.rows.size > steps.rows.size > 300
    assert structure.by_rows(32, 4) is first  # an epoch's last batch
    assert structure.by_rows(32, 4, STEPS) is steps
    small = layer(300, 784, 0.2, 1, np.float32).structure
    evaluated = small.by_rows(256, 4, EVALUATION)
    assert small.by_rows(128, 4) is evaluated  # it needs as many blocks
    other = layer(300, 784, 0.2, 1, np.float32).structure
    assert other.by_rows(256, 4, EVALUATION) is not other.by_rows(32, 4)
    assert other.by_rows(256, 4, EVALUATION) is other.by_rows(32, 4)  # from now on
    by_columns = structure.by_columns(128, 4)
    assert structure.by_columns(32, 4) is by_columns
    assert "plain" not in vars(structure)
    assert "transposed" not in vars(structure)


@pytest.mark.parametrize("number", [np.inf, np.nan])
@pytest.mark.parametrize("batch", [5, 37, 128])
def test_what_is_not_finite_reaches_its_own_samples_and_no_others(number: float, batch: int) -> None:
    broken = layer(20, 300, 0.5, batch, np.float32)
    broken.x[7, batch - 1] = number
    broken.dy[3, 0] = number
    y, dx, grad = broken.multiply(), broken.multiply_transposed(), broken.correlate()
    for one, both in zip((dx, grad), broken.gradients(), strict=True):
        np.testing.assert_array_equal(np.isfinite(one), np.isfinite(both))
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
    assert (broken.gradients()[1][columns == 7] == np.inf).all()


def test_nothing_beyond_the_outputs_is_written() -> None:
    for batch in (3, 37, 128):
        inside = layer(10, 50, 0.5, batch, np.float32)
        space = np.full(10 * batch + 64, 7, np.float32)
        y = space[32:-32].reshape(10, batch)
        linear.multiply(inside.by_rows(), inside.values, inside.x, inside.bias, y)
        np.testing.assert_array_equal(y, inside.multiply())
        np.testing.assert_array_equal(np.concatenate([space[:32], space[-32:]]), 7)


def test_other_compiled_functions_can_call_the_kernels() -> None:
    @njit
    def twice(matrix: Rows, values: Array, x: Array, bias: Array, y: Array) -> None:
        linear.multiply(matrix, values, x, bias, y)
        linear.multiply(matrix, values, y.copy(), bias, y)

    square = layer(40, 40, 0.3, 20, np.float64)
    y = np.empty((40, 20))
    twice(square.by_rows(), square.values, square.x, square.bias, y)
    bias = square.bias[:, None]
    np.testing.assert_allclose(y, square.weight @ (square.weight @ square.x + bias) + bias, atol=1e-10)
