"""LSTM and GRU layers over whole sequences, their recurrent weights sparse. Batch innermost.

T steps of n sequences, H units, G = 4 (LSTM) or 3 (GRU) gates of H units each, in torch's order.

matrix, values  the recurrent weights [G * H, H], as in `linear`;  bias [G * H]
inputs    [G * H, T, n]  what the gates get from below, their bias included
hidden    [H, n]         before the first step, and so is cell
outputs   [H, T, n]

Between steps there are m >= n sequences, `filled(n)`; those after the n are of no matter, and their gradients are 0.
"""

from typing import Any

import numpy as np

from models.kernels.blocks import Rows
from models.kernels.compiled import kernel
from models.kernels.exponential import exponential
from models.kernels.linear import multiply
from models.kernels.vectors import LINE

Array = np.ndarray[Any, Any]


def filled(sequences: int, itemsize: int) -> int:
    """As many sequences, or the next number of whole vectors of them where the product takes a pass less then.

    Passes are 1, 2, 4, ... vectors wide: an odd number of vectors and a rest take one pass more than the next number.
    """
    vectors, rest = divmod(sequences * itemsize, LINE)
    return (vectors + 1) * LINE // itemsize if vectors % 2 and rest else sequences


@kernel
def lstm(
    matrix: Rows,
    values: Array,
    bias: Array,
    inputs: Array,
    hidden: Array,
    cell: Array,
    gates: Array,
    cells: Array,
    outputs: Array,
) -> None:
    """gates [T, 4 * H, m]: input, forget, cell and output gate, activated;  cells [T, H, m]"""
    steps, units, wide = cells.shape
    size, one = units * wide, gates.dtype.type(1)
    before = _fill(hidden, wide)
    state, last = before.reshape(-1), _fill(cell, wide).reshape(-1)
    for t in range(steps):
        multiply(matrix, values, before, bias, gates[t])
        _add(inputs, t, gates[t])
        now, memory = gates[t].reshape(-1), cells[t].reshape(-1)
        enter, forget, new, out = now[:size], now[size : 2 * size], now[2 * size : 3 * size], now[3 * size :]
        for k in range(size):
            i, f, o = _sigmoid(enter[k], one), _sigmoid(forget[k], one), _sigmoid(out[k], one)
            g = _tanh(new[k], one)
            c = f * last[k] + i * g
            enter[k], forget[k], new[k], out[k] = i, f, g, o
            memory[k] = c
            state[k] = o * _tanh(c, one)
        last = memory
        outputs[:, t] = before[:, : outputs.shape[2]]


@kernel
def lstm_backward(
    matrix: Rows,
    values: Array,
    gates: Array,
    cells: Array,
    cell: Array,
    doutputs: Array,
    dhidden: Array,
    dcell: Array,
    dinputs: Array,
) -> None:
    """matrix, values  the recurrent weights' transpose

    dhidden, dcell  [H, n]  of the loss by the state after the last step; become those by the state before the first
    dinputs         [4 * H, T, n]
    """
    steps, units, wide = cells.shape
    size, one, batch = units * wide, gates.dtype.type(1), doutputs.shape[2]
    dgates, dbefore, dlast = np.empty(gates.shape[1:], gates.dtype), _fill(dhidden, wide), _fill(dcell, wide)
    first = _fill(cell, wide)
    d, dstate, dmemory = dgates.reshape(-1), dbefore.reshape(-1), dlast.reshape(-1)
    denter, dforget, dnew, dout = d[:size], d[size : 2 * size], d[2 * size : 3 * size], d[3 * size :]
    for back in range(steps):
        t = steps - 1 - back
        _add(doutputs, t, dbefore)
        now, memory = gates[t].reshape(-1), cells[t].reshape(-1)
        enter, forget, new, out = now[:size], now[size : 2 * size], now[2 * size : 3 * size], now[3 * size :]
        last = first.reshape(-1) if t == 0 else cells[t - 1].reshape(-1)
        for k in range(size):
            i, f, g, o = enter[k], forget[k], new[k], out[k]
            squashed, dh = _tanh(memory[k], one), dstate[k]
            dc = dmemory[k] + dh * o * (one - squashed * squashed)
            dmemory[k] = dc * f
            denter[k] = dc * g * i * (one - i)
            dforget[k] = dc * last[k] * f * (one - f)
            dnew[k] = dc * i * (one - g * g)
            dout[k] = dh * squashed * o * (one - o)
        dinputs[:, t] = dgates[:, :batch]
        multiply(matrix, values, dgates, values[:0], dbefore)
    dhidden[:], dcell[:] = dbefore[:, :batch], dlast[:, :batch]


@kernel
def gru(
    matrix: Rows,
    values: Array,
    bias: Array,
    inputs: Array,
    hidden: Array,
    gates: Array,
    products: Array,
    outputs: Array,
) -> None:
    """gates [T, 3 * H, m]: reset, update and new gate, activated;  products [T, H, m]: what the new gate gets from
    the hidden state, its bias included, before the reset gate."""
    steps, units, wide = products.shape
    size, one, batch = units * wide, gates.dtype.type(1), outputs.shape[2]
    before = _fill(hidden, wide)
    state = before.reshape(-1)
    for t in range(steps):
        multiply(matrix, values, before, bias, gates[t])
        products[t] = gates[t, 2 * units :]
        _add(inputs[: 2 * units], t, gates[t, : 2 * units])
        gates[t, 2 * units :, :batch] = inputs[2 * units :, t]
        now, product = gates[t].reshape(-1), products[t].reshape(-1)
        reset, update, new = now[:size], now[size : 2 * size], now[2 * size :]
        for k in range(size):
            r, z = _sigmoid(reset[k], one), _sigmoid(update[k], one)
            n = _tanh(new[k] + r * product[k], one)
            reset[k], update[k], new[k] = r, z, n
            state[k] = (one - z) * n + z * state[k]
        outputs[:, t] = before[:, :batch]


@kernel
def gru_backward(
    matrix: Rows,
    values: Array,
    gates: Array,
    products: Array,
    hidden: Array,
    outputs: Array,
    doutputs: Array,
    dhidden: Array,
    dinputs: Array,
    dproducts: Array,
) -> None:
    """matrix, values  the recurrent weights' transpose

    dhidden    [H, n]         of the loss by the state after the last step; becomes that by the state before the first
    dinputs    [3 * H, T, n]
    dproducts  [3 * H, T, n]  by what the recurrent weights gave
    """
    steps, units, wide = products.shape
    size, one, batch = units * wide, gates.dtype.type(1), doutputs.shape[2]
    dbefore, before = _fill(dhidden, wide), _fill(hidden, wide)
    dgates, through = np.empty(gates.shape[1:], gates.dtype), np.empty(before.shape, before.dtype)
    d, dstate, past, state = dgates.reshape(-1), dbefore.reshape(-1), through.reshape(-1), before.reshape(-1)
    dreset, dupdate, dnew = d[:size], d[size : 2 * size], d[2 * size :]
    for back in range(steps):
        t = steps - 1 - back
        _add(doutputs, t, dbefore)
        before[:, :batch] = hidden if t == 0 else outputs[:, t - 1]
        now, product = gates[t].reshape(-1), products[t].reshape(-1)
        reset, update, new = now[:size], now[size : 2 * size], now[2 * size :]
        for k in range(size):
            r, z, n, dh = reset[k], update[k], new[k], dstate[k]
            past[k] = dh * z
            dn = dh * (one - z) * (one - n * n)
            dreset[k] = dn * product[k] * r * (one - r)
            dupdate[k] = dh * (state[k] - n) * z * (one - z)
            dnew[k] = dn
        dinputs[:, t] = dgates[:, :batch]
        for k in range(size):
            dnew[k] *= reset[k]
        dproducts[:, t] = dgates[:, :batch]
        multiply(matrix, values, dgates, values[:0], dbefore)
        dbefore += through
    dhidden[:] = dbefore[:, :batch]


@kernel
def _add(inputs: Array, t: int, sums: Array) -> None:
    """sums [features, m] += inputs [features, T, n] at step t."""
    for feature in range(sums.shape[0]):
        for s in range(inputs.shape[2]):
            sums[feature, s] += inputs[feature, t, s]


@kernel
def _fill(state: Array, wide: int) -> Array:
    """A copy [H, wide] of [H, n], 0 after the n."""
    result = np.zeros((state.shape[0], wide), state.dtype)
    result[:, : state.shape[1]] = state
    return result


@kernel
def _sigmoid(x: float, one: float) -> float:
    """one: 1 of the type of x, which Numba would widen otherwise."""
    return one / (one + exponential(-x))


@kernel
def _tanh(x: float, one: float) -> float:
    two = one + one
    return one - two / (one + exponential(two * x))
