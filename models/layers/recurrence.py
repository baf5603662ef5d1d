"""torch's functions over the recurrent kernels. What they take and give lies batch innermost, step after step."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.kernels import linear, recurrent
from models.kernels.blocks import Rows
from models.kernels.structure import STEPS, Structure
from models.layers.layout import Array

State = tuple[Tensor, ...]


def lstm(
    inputs: Tensor, hidden: Tensor, cell: Tensor, values: Tensor, bias: Tensor, structure: Structure
) -> tuple[Tensor, Tensor]:
    """inputs [T, n, 4 * H], state [n, H] each, recurrent weights [nnz], bias [4 * H] -> outputs [T, n, H], last cell"""
    return _LSTM.apply(inputs, hidden, cell, values, bias, structure)  # type: ignore[no-any-return,no-untyped-call]


def gru(inputs: Tensor, hidden: Tensor, values: Tensor, bias: Tensor, structure: Structure) -> Tensor:
    """inputs [T, n, 3 * H], state [n, H], recurrent weights [nnz], bias [3 * H] -> outputs [T, n, H]"""
    return _GRU.apply(inputs, hidden, values, bias, structure)  # type: ignore[no-any-return,no-untyped-call]


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, hidden: Tensor, cell: Tensor, values: Tensor, bias: Tensor, structure: Structure
    ) -> tuple[Tensor, Tensor]:
        below, before, memory = _array(inputs), _array(hidden), _array(cell)
        steps, batch, units = len(inputs), len(hidden), hidden.shape[1]
        wide = recurrent.filled(batch, below.itemsize)
        gates = np.empty((steps, 4 * units, wide), below.dtype)
        cells = np.empty((steps, units, wide), below.dtype)
        outputs = np.empty((units, steps, batch), below.dtype)
        weights = structure.by_rows(wide, below.itemsize, STEPS), _array(values), _array(bias)
        recurrent.lstm(*weights, below, before, memory, gates, cells, outputs)
        ctx.structure, ctx.arrays = structure, (before, memory, gates, cells, outputs)
        ctx.save_for_backward(values)
        return _tensor(outputs.copy()), _tensor(cells[-1, :, :batch].copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutputs: Tensor, dlast: Tensor) -> tuple[Tensor | None, ...]:
        [values] = ctx.saved_tensors
        before, memory, gates, cells, outputs = ctx.arrays
        there = ctx.structure.by_columns(gates.shape[2], gates.itemsize)
        dhidden, dcell = np.zeros_like(before), _array(dlast).copy()
        dinputs = np.empty((gates.shape[1], *outputs.shape[1:]), gates.dtype)
        weights = Rows(there.starts, there.rows, there.starts[:-1], there.columns), _array(values)[there.order]
        recurrent.lstm_backward(*weights, gates, cells, memory, _array(doutputs), dhidden, dcell, dinputs)
        dvalues, dbias = _of_weights(ctx.structure, before, outputs, dinputs)
        return _tensor(dinputs), _tensor(dhidden), _tensor(dcell), dvalues, dbias, None


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, hidden: Tensor, values: Tensor, bias: Tensor, structure: Structure) -> Tensor:
        below, before = _array(inputs), _array(hidden)
        steps, batch, units = len(inputs), len(hidden), hidden.shape[1]
        wide = recurrent.filled(batch, below.itemsize)
        gates = np.empty((steps, 3 * units, wide), below.dtype)
        products = np.empty((steps, units, wide), below.dtype)
        outputs = np.empty((units, steps, batch), below.dtype)
        weights = structure.by_rows(wide, below.itemsize, STEPS), _array(values), _array(bias)
        recurrent.gru(*weights, below, before, gates, products, outputs)
        ctx.structure, ctx.arrays = structure, (before, gates, products, outputs)
        ctx.save_for_backward(values)
        return _tensor(outputs.copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, doutputs: Tensor) -> tuple[Tensor | None, ...]:
        [values] = ctx.saved_tensors
        before, gates, products, outputs = ctx.arrays
        there = ctx.structure.by_columns(gates.shape[2], gates.itemsize)
        dhidden = np.zeros_like(before)
        dinputs = np.empty((gates.shape[1], *outputs.shape[1:]), gates.dtype)
        dproducts = np.empty_like(dinputs)
        weights = Rows(there.starts, there.rows, there.starts[:-1], there.columns), _array(values)[there.order]
        recurrent.gru_backward(
            *weights, gates, products, before, outputs, _array(doutputs), dhidden, dinputs, dproducts
        )
        dvalues, dbias = _of_weights(ctx.structure, before, outputs, dproducts)
        return _tensor(dinputs), _tensor(dhidden), dvalues, dbias, None


def _of_weights(structure: Structure, before: Array, outputs: Array, dproducts: Array) -> tuple[Tensor, Tensor]:
    """The gradients of weights and bias: those of one matrix over all steps at once."""
    states = np.empty_like(outputs)
    states[:, 0], states[:, 1:] = before, outputs[:, :-1]
    dvalues = np.empty(structure.nnz, outputs.dtype)
    flat = states.reshape(len(states), -1), dproducts.reshape(len(dproducts), -1)
    linear.correlate(structure.by_rows(flat[0].shape[1], states.itemsize), *flat, dvalues)
    return torch.from_numpy(dvalues), torch.from_numpy(dproducts.sum(axis=(1, 2)))


def _array(x: Tensor) -> Array:
    """[features, ..., n] contiguous, of [..., n, features]; a vector as it is."""
    array: Array = x.detach().movedim(-1, 0).contiguous().numpy()
    return array


def _tensor(array: Array) -> Tensor:
    """The inverse of `_array`: a view."""
    return torch.from_numpy(array).movedim(0, -1)
