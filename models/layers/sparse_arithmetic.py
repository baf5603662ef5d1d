"""torch's functions over the sparse kernels: what autograd needs to know of them. Their outputs lie batch innermost."""

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.kernels import conv, linear
from models.kernels.structure import EVALUATION, TRAINING, Structure
from models.kernels.vectors import LINE
from models.layers.layout import Array, batch_innermost
from models.memory import allocate

CACHED = 2**21
"""Bytes of activations up to which the transposed structure pays; beyond, it costs more than it saves, and memory."""

_USUAL_BATCH = 32

_PAGE = 4096  # bytes
_LARGE = 2**17
"""Bytes from which on it matters where outputs lie; for smaller ones, asking for it takes longer than it saves."""

_APART = 3328
"""Large outputs begin so many bytes after what they are computed from, modulo a page; that is, 768 before.

A processor takes a read from an address that is whole pages from that of an earlier write for a read of what was
written, at first, and lets it wait. Where a convolution reads in place (float32, batch 64), it writes a kilobyte at a
time and next reads from up to 768 bytes before the following one.
"""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, None, None]
Pair = tuple[int, int]


class Geometry(NamedTuple):
    """padding: before the first row and column; what follows the last is in the size, (height, width) of the output."""

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def of(cls, shape: tuple[int, ...], x: Tensor, stride: Pair, padding: Pair | str, dilation: Pair) -> "Geometry":
        """Raises: ValueError where the kernel is larger than the padded image."""
        kernel = (shape[2], shape[3])
        reach = [along * (places - 1) for along, places in zip(dilation, kernel, strict=True)]
        if padding == "same":  # where the two sides cannot be equal, the second has one more
            before, both = [far // 2 for far in reach], reach
        else:
            before = [0, 0] if isinstance(padding, str) else list(padding)
            both = [2 * side for side in before]
        sides = zip(x.shape[2:], both, reach, stride, strict=True)
        size = [(side + added - far - 1) // step + 1 for side, added, far, step in sides]
        if min(size) < 1:
            raise ValueError(f"x: images of {tuple(x.shape[2:])} are too small for a kernel of {kernel}, {padding=}")
        return cls((size[0], size[1]), kernel, stride, (before[0], before[1]), dilation)


def multiply(x: Tensor, values: Tensor, bias: Tensor | None, structure: Structure) -> Tensor:
    """A sparse matrix times each of a batch of vectors: x [n, inputs], values [nnz], bias [outputs] -> [n, outputs]."""
    _check(x, values, bias)
    use = TRAINING if torch.is_grad_enabled() else EVALUATION
    weights = _contiguous(values, bias)
    return cast(Tensor, _Multiplication.apply(x, *weights, structure, use))  # type: ignore[no-untyped-call]


def convolve(x: Tensor, values: Tensor, bias: Tensor | None, structure: Structure, geometry: Geometry) -> Tensor:
    """x [n, channels, height, width], values [nnz], bias [outputs] -> [n, outputs, *geometry.size]"""
    _check(x, values, bias)
    weights = _contiguous(values, bias)
    return cast(Tensor, _Convolution.apply(x, *weights, structure, geometry))  # type: ignore[no-untyped-call]


class _Multiplication(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, structure: Structure, use: str) -> Tensor:
        x = batch_innermost(x)
        y = _innermost(x, (len(x), structure.outputs))
        matrix = structure.by_rows(len(x), x.itemsize, use)
        linear.multiply(matrix, _array(values), _array(x), _bias(bias, values), _array(y))
        ctx.structure = structure
        ctx.save_for_backward(x, values)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        x, values = ctx.saved_tensors
        structure: Structure = ctx.structure
        dy = batch_innermost(dy)
        dx = dvalues = dbias = None
        # A last, smaller batch is not worth a structure of its own.
        near = structure.width * max(len(x), _USUAL_BATCH) * x.itemsize <= CACHED
        if ctx.needs_input_grad[0]:
            dx = _innermost(dy, tuple(x.shape))
        if ctx.needs_input_grad[1]:
            dvalues = torch.empty_like(values)
        if dx is not None and near:
            by_columns = structure.by_columns(len(x), x.itemsize)
            if dvalues is not None:
                linear.gradients(by_columns, _array(values), _array(x), _array(dy), _array(dx), _array(dvalues))
            else:
                linear.multiply_transposed(by_columns, _array(values), _array(dy), _array(dx))
        else:
            if dx is not None:
                linear.multiply_transposed_by_rows(structure.plain, _array(values), _array(dy), _array(dx))
            if dvalues is not None:
                linear.correlate(structure.by_rows(len(x), x.itemsize), _array(x), _array(dy), _array(dvalues))
        if ctx.needs_input_grad[2]:
            dbias = dy.sum(dim=0)
        return dx, dvalues, dbias, None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, values: Tensor, bias: Tensor | None, structure: Structure, geometry: Geometry
    ) -> Tensor:
        x = batch_innermost(x)
        y = _innermost(x, (len(x), structure.outputs, *geometry.size))
        weights = _array(values), _array(x), _bias(bias, values)
        conv.convolve(structure.starts, structure.columns, *weights, _array(y), *geometry[1:])
        ctx.structure, ctx.geometry = structure, geometry
        ctx.save_for_backward(x, values)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        x, values = ctx.saved_tensors
        structure: Structure = ctx.structure
        geometry: Geometry = ctx.geometry
        dy = batch_innermost(dy)
        dx = dvalues = dbias = None
        if ctx.needs_input_grad[1]:
            dvalues = torch.empty_like(values)
        if ctx.needs_input_grad[0]:
            there = structure.transposed
            dx = _innermost(dy, tuple(x.shape))
            weights = there.starts, there.rows[:-1], there.order, _array(values)
            if dvalues is None:
                conv.convolve_transposed(*weights, _array(dy), _array(dx), *geometry[1:])
            else:
                both = _array(dx), _array(dvalues)
                conv.gradients(*weights, _array(x), _array(dy), *both, *geometry[1:])
        elif dvalues is not None:
            conv.correlate(structure.starts, structure.columns, _array(x), _array(dy), _array(dvalues), *geometry[1:])
        if ctx.needs_input_grad[2]:
            dbias = dy.sum(dim=(0, 2, 3))
        return dx, dvalues, dbias, None, None


def _check(x: Tensor, values: Tensor, bias: Tensor | None) -> None:
    for name, tensor in (("x", x), ("weights", values), ("bias", bias)):
        if tensor is not None and (tensor.device.type != "cpu" or tensor.dtype != values.dtype):
            found = f"{tensor.dtype} on {tensor.device}"
            raise ValueError(
                f"{name}: {found} is not allowed; the compressed storage computes on the CPU, inputs like weights"
                f" ({values.dtype}); for other devices build the layer with storage='masked'"
            )


def _contiguous(values: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As kernels read them. Parameters are; what takes their place in `torch.func.functional_call` need not be."""
    return values.contiguous(), None if bias is None else bias.contiguous()


def _innermost(source: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uninitialised [n, features, ...], strided at once: a view made in a function could not be changed in place.

    source  what it is computed from, whose reading should not wait for what is written here
    """
    strides, size = [1], shape[0]
    for side in reversed(shape[1:]):
        strides.insert(1, size)
        size *= side
    if size * source.itemsize < _LARGE:
        return torch.empty_strided(shape, strides, dtype=source.dtype)
    memory = allocate(size * source.itemsize + _PAGE)
    # It begins where a cache line does, wherever the source does.
    offset = (source.data_ptr() // LINE * LINE + _APART - memory.data_ptr()) % _PAGE
    empty = torch.empty(0, dtype=source.dtype)
    return empty.set_(memory.untyped_storage(), offset // source.itemsize, shape, strides)


def _array(tensor: Tensor) -> Array:
    """[features, ..., n] contiguous; a vector as it is."""
    array: Array = tensor.detach().numpy()
    return array.transpose(1, 2, 3, 0) if array.ndim == 4 else array.T


def _bias(bias: Tensor | None, values: Tensor) -> Array:
    return _array(values[:0] if bias is None else bias)
