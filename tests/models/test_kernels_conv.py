"""Convolution with active weights alone: equal to torch's dense convolution with zeros, forward and backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.kernels import conv
from models.kernels.structure import Structure
from models.seeds import generator

Array = NDArray[Any]
Pair = tuple[int, int]

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@dataclass(frozen=True)
class Case:
    outputs: int
    channels: int
    size: Pair
    batch: int
    kernel_size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    density: float = 0.3
    seed: int = 0

    @property
    def geometry(self) -> tuple[Pair, Pair, Pair, Pair]:
        return self.kernel_size, self.stride, self.padding, self.dilation

    @property
    def possible(self) -> bool:
        extents = zip(self.size, self.kernel_size, self.padding, self.dilation, strict=True)
        return all(size + 2 * padding > dilation * (kernel - 1) for size, kernel, padding, dilation in extents)


class Problem:
    """Random numbers for a case, in torch's layout, and its connections."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.case = case
        draw = generator(case.seed)
        shape = (case.outputs, case.channels, *case.kernel_size)
        self.mask = torch.rand(shape, generator=draw) < case.density
        self.weight = torch.randn(shape, generator=draw, dtype=dtype) * self.mask
        self.bias = torch.randn(case.outputs, generator=draw, dtype=dtype)
        self.x = torch.randn(case.batch, case.channels, *case.size, generator=draw, dtype=dtype)
        self.dy = torch.randn(self.dense().shape, generator=draw, dtype=dtype)
        rows, columns = np.nonzero(self.mask.flatten(1).numpy())
        self.starts = np.searchsorted(rows, np.arange(case.outputs + 1)).astype(np.int64)
        self.columns = columns.astype(np.int32)
        self.values = self.weight[self.mask].numpy()

    def dense(self) -> Tensor:
        _, stride, padding, dilation = self.case.geometry
        return functional.conv2d(self.x, self.weight, self.bias, stride, padding, dilation)

    def dense_gradients(self) -> tuple[Tensor, Tensor]:
        """In the input and in the active weights."""
        for tensor in (self.x, self.weight):
            tensor.requires_grad_()
        in_x, in_weight = torch.autograd.grad(self.dense(), (self.x, self.weight), self.dy)
        for tensor in (self.x, self.weight):
            tensor.requires_grad_(False)
        return in_x, in_weight[self.mask]

    def forward(self, bias: Array | None = None, y: Array | None = None) -> Array:
        y = unwritten(self.dy) if y is None else y
        bias = self.bias.numpy() if bias is None else bias
        conv.convolve(self.starts, self.columns, self.values, inside(self.x), bias, y, *self.case.geometry)
        return y

    def input_gradient(self, dx: Array | None = None) -> Array:
        starts, columns, order = self.transposed()
        dx = unwritten(self.x) if dx is None else dx
        conv.convolve_transposed(starts, columns, order, self.values, inside(self.dy), dx, *self.case.geometry)
        return dx

    def weight_gradient(self) -> Array:
        grad = np.full_like(self.values, np.nan)
        conv.correlate(self.starts, self.columns, inside(self.x), inside(self.dy), grad, *self.case.geometry)
        return grad

    def both_gradients(
        self, x: Array | None = None, dy: Array | None = None, dx: Array | None = None
    ) -> tuple[Array, Array]:
        x, dy = inside(self.x) if x is None else x, inside(self.dy) if dy is None else dy
        dx, grad = unwritten(self.x) if dx is None else dx, np.full_like(self.values, np.nan)
        conv.gradients(*self.transposed(), self.values, x, dy, dx, grad, *self.case.geometry)
        return dx, grad

    def transposed(self) -> tuple[Array, Array, Array]:
        taps = self.case.kernel_size[0] * self.case.kernel_size[1]
        padded = np.append(self.columns, np.int32(0))
        there = Structure(taps, self.case.channels * taps, self.starts, padded).transposed
        return there.starts, there.rows[:-1], there.order


def inside(image: Tensor) -> Array:
    """The layout of the kernels: batch innermost."""
    array: Array = image.permute(1, 2, 3, 0).contiguous().numpy()
    return array


def unwritten(like: Tensor) -> Array:
    return np.full_like(inside(like), np.nan)


def assert_equal(ours: Array, theirs: Tensor, usual: float = 0.0) -> None:
    """Up to a share of the largest value, or of the `usual` one where by chance nearly nothing is left of long sums."""
    expected = theirs.numpy()
    assert ours.shape == expected.shape
    scale = np.abs(expected).max(initial=max(1e-3, usual))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE[theirs.dtype] * float(scale))


def assert_like_torch(case: Case, dtype: torch.dtype) -> None:
    problem = Problem(case, dtype)
    in_x, in_weight = problem.dense_gradients()
    in_x, summed = torch.from_numpy(inside(in_x)), (problem.dy.numel() / case.outputs) ** 0.5
    assert_equal(problem.forward(), torch.from_numpy(inside(problem.dense())))
    assert_equal(problem.input_gradient(), in_x)
    assert_equal(problem.weight_gradient(), in_weight, summed)
    dx, grad = problem.both_gradients()
    assert_equal(dx, in_x)
    assert_equal(grad, in_weight, summed)


def pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


CASES = st.builds(
    Case,
    outputs=st.integers(1, 20),
    channels=st.integers(1, 40),
    size=pairs(1, 19),
    batch=st.sampled_from([1, 3, 8, 16, 20, 32, 64, 70, 128]),
    kernel_size=pairs(1, 5),
    stride=pairs(1, 3),
    padding=pairs(0, 3),
    dilation=pairs(1, 2),
    density=st.sampled_from([0.0, 0.03, 0.1, 0.4, 1.0]),
    seed=st.integers(0, 9),
).filter(lambda case: case.possible)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=60, deadline=None)
@given(case=CASES)
@example(case=Case(40, 64, (16, 16), 64, (3, 3), padding=(1, 1), density=0.3))  # packed, several blocks of channels
@example(case=Case(40, 64, (11, 13), 70, (3, 3), padding=(1, 1), density=0.1))  # packed, a region cut off on each side
@example(case=Case(6, 8, (16, 16), 64, (3, 3), padding=(1, 1), density=0.1))  # in place, whole quads
@example(case=Case(6, 8, (9, 7), 32, (3, 3), padding=(1, 1), density=0.1))  # in place, half quads
@example(case=Case(3, 2, (8, 8), 64, (1, 1), stride=(3, 2)))  # a stride that skips places of the input
def test_all_kernels_compute_what_a_dense_convolution_does(dtype: torch.dtype, case: Case) -> None:
    assert_like_torch(case, dtype)


@pytest.mark.parametrize("batch", [5, 16, 64])
def test_a_kernel_may_be_larger_than_the_image_and_mostly_in_its_padding(batch: int) -> None:
    assert_like_torch(Case(4, 3, (2, 1), batch, (5, 5), padding=(3, 4), density=0.8), torch.float64)


@pytest.mark.parametrize("batch", [5, 64])
def test_zeros_below_and_to_the_right_follow_from_the_size_of_the_output(batch: int) -> None:
    """As torch pads `same` for an even kernel: one more of them at the end."""
    problem = Problem(Case(4, 3, (7, 6), batch, (4, 2), padding=(1, 0)), torch.float64)
    expected = functional.conv2d(functional.pad(problem.x, (0, 1, 1, 2)), problem.weight, problem.bias)
    assert_equal(problem.forward(y=unwritten(expected)), torch.from_numpy(inside(expected)))


@pytest.mark.parametrize("batch", [5, 64])
def test_without_bias_an_output_channel_that_has_no_connections_is_zero(batch: int) -> None:
    problem = Problem(Case(3, 2, (6, 6), batch, (3, 3), density=0.0), torch.float32)
    assert not problem.forward(bias=np.empty(0, np.float32)).any()
    assert not problem.input_gradient().any()


@pytest.mark.parametrize("batch", [5, 32, 64])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_outside_the_arrays_is_read_or_written(batch: int, value: float) -> None:
    """The images lie between numbers that would spoil every sum."""
    problem = Problem(Case(3, 2, (6, 5), batch, (3, 3), padding=(1, 1), density=1.0), torch.float64)
    framed = [between(inside(image), value) for image in (problem.x, problem.dy, problem.x)]
    x, y, dx = (image for _, image, _ in framed)
    in_x, in_weight = problem.dense_gradients()
    conv.convolve(problem.starts, problem.columns, problem.values, x, problem.bias.numpy(), y, *problem.case.geometry)
    assert_equal(y, torch.from_numpy(inside(problem.dense())))
    y[:] = inside(problem.dy)
    conv.convolve_transposed(*problem.transposed(), problem.values, y, dx, *problem.case.geometry)
    assert_equal(dx, torch.from_numpy(inside(in_x)))
    dx[:] = np.nan
    for found, expected in zip(problem.both_gradients(x, y, dx), (inside(in_x), in_weight), strict=True):
        assert_equal(found, torch.as_tensor(expected))
    for before, _, after in framed:
        np.testing.assert_equal(before, value)
        np.testing.assert_equal(after, value)


def between(image: Array, value: float) -> tuple[Array, Array, Array]:
    """A copy of an image, and what lies before and after it in memory."""
    frame = 512
    memory = np.full(image.size + 2 * frame, value, image.dtype)
    middle = memory[frame:-frame].reshape(image.shape)
    middle[:] = image
    return memory[:frame], middle, memory[-frame:]


@pytest.mark.parametrize("batch", [7, 64])
@pytest.mark.parametrize("density", [0.05, 0.6])
def test_the_same_inputs_give_the_same_bits(batch: int, density: float) -> None:
    case = Case(20, 40, (9, 9), batch, (3, 3), padding=(1, 1), density=density)
    first, second = Problem(case, torch.float32), Problem(case, torch.float32)
    np.testing.assert_array_equal(first.forward(), second.forward())
    np.testing.assert_array_equal(first.input_gradient(), second.input_gradient())
    np.testing.assert_array_equal(first.weight_gradient(), second.weight_gradient())
    for one, other in zip(first.both_gradients(), second.both_gradients(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_transpose_lists_the_connections_of_each_input_channel_in_order() -> None:
    problem = Problem(Case(5, 4, (3, 3), 1, (2, 3), density=0.4), torch.float64)
    starts, columns, order = problem.transposed()
    dense = np.zeros((4, 5 * 6))
    for channel in range(4):
        mine = slice(starts[channel], starts[channel + 1])
        assert (np.diff(columns[mine]) > 0).all()
        dense[channel, columns[mine]] = problem.values[order[mine]]
    np.testing.assert_array_equal(dense, problem.weight.transpose(0, 1).flatten(1).numpy())
