"""LSTM and GRU layers over whole sequences, their recurrent weights sparse. Batch innermost.

T steps of n sequences, H units, G = 4 (LSTM) or 3 (GRU) gates of H units each, in torch's order.

starts, columns, values  the recurrent weights [G * H, H], as in `linear`;  bias [G * H]
inputs    [G * H, T, n]  what the gates get from below, their bias included
hidden    [H, n]         before the first step, and so is cell
outputs   [H, T, n]
"""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel
from models.kernels.exponential import exponential
from models.kernels.linear import multiply, multiply_transposed

Array = np.ndarray[Any, Any]


@kernel
def lstm(
    starts: Array,
    columns: Array,
    values: Array,
    bias: Array,
    inputs: Array,
    hidden: Array,
    cell: Array,
    gates: Array,
    cells: Array,
    outputs: Array,
) -> None:
    """gates [T, 4 * H, n]: input, forget, cell and output gate, activated;  cells [T, H, n]"""
    units, steps, batch = outputs.shape
    size, one = units * batch, gates.dtype.type(1)
    before = hidden.copy()
    state, last = before.reshape(-1), cell.reshape(-1)
    for t in range(steps):
        multiply(starts, columns, values, before, bias, gates[t])
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
        outputs[:, t] = before


@kernel
def lstm_backward(
    starts: Array,
    rows: Array,
    order: Array,
    values: Array,
    gates: Array,
    cells: Array,
    cell: Array,
    doutputs: Array,
    dhidden: Array,
    dcell: Array,
    dinputs: Array,
) -> None:
    """starts, rows, order  the recurrent weights by columns

    dhidden, dcell  [H, n]  of the loss by the state after the last step; become those by the state before the first
    dinputs         [4 * H, T, n]
    """
    units, steps, batch = doutputs.shape
    size, one = units * batch, gates.dtype.type(1)
    dgates = np.empty(gates.shape[1:], gates.dtype)
    d, dstate, dmemory = dgates.reshape(-1), dhidden.reshape(-1), dcell.reshape(-1)
    denter, dforget, dnew, dout = d[:size], d[size : 2 * size], d[2 * size : 3 * size], d[3 * size :]
    for back in range(steps):
        t = steps - 1 - back
        _add(doutputs, t, dhidden)
        now, memory = gates[t].reshape(-1), cells[t].reshape(-1)
        enter, forget, new, out = now[:size], now[size : 2 * size], now[2 * size : 3 * size], now[3 * size :]
        last = cell.reshape(-1) if t == 0 else cells[t - 1].reshape(-1)
        for k in range(size):
            i, f, g, o = enter[k], forget[k], new[k], out[k]
            squashed, dh = _tanh(memory[k], one), dstate[k]
            dc = dmemory[k] + dh * o * (one - squashed * squashed)
            dmemory[k] = dc * f
            denter[k] = dc * g * i * (one - i)
            dforget[k] = dc * last[k] * f * (one - f)
            dnew[k] = dc * i * (one - g * g)
            dout[k] = dh * squashed * o * (one - o)
        dinputs[:, t] = dgates
        multiply_transposed(starts, rows, order, values, dgates, dhidden)


@kernel
def gru(
    starts: Array,
    columns: Array,
    values: Array,
    bias: Array,
    inputs: Array,
    hidden: Array,
    gates: Array,
    products: Array,
    outputs: Array,
) -> None:
    """gates [T, 3 * H, n]: reset, update and new gate, activated;  products [T, H, n]: what the new gate gets from
    the hidden state, its bias included, before the reset gate."""
    units, steps, batch = outputs.shape
    size, one = units * batch, gates.dtype.type(1)
    before = hidden.copy()
    state = before.reshape(-1)
    for t in range(steps):
        multiply(starts, columns, values, before, bias, gates[t])
        products[t] = gates[t, 2 * units :]
        _add(inputs[: 2 * units], t, gates[t, : 2 * units])
        gates[t, 2 * units :] = inputs[2 * units :, t]
        now, product = gates[t].reshape(-1), products[t].reshape(-1)
        reset, update, new = now[:size], now[size : 2 * size], now[2 * size :]
        for k in range(size):
            r, z = _sigmoid(reset[k], one), _sigmoid(update[k], one)
            n = _tanh(new[k] + r * product[k], one)
            reset[k], update[k], new[k] = r, z, n
            state[k] = (one - z) * n + z * state[k]
        outputs[:, t] = before


@kernel
def gru_backward(
    starts: Array,
    rows: Array,
    order: Array,
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
    """dhidden  [H, n]  of the loss by the state after the last step; becomes that by the state before the first

    dinputs    [3 * H, T, n]
    dproducts  [3 * H, T, n]  by what the recurrent weights gave
    """
    units, steps, batch = doutputs.shape
    size, one = units * batch, gates.dtype.type(1)
    dgates, through = np.empty(gates.shape[1:], gates.dtype), np.empty(dhidden.shape, dhidden.dtype)
    before = np.empty(dhidden.shape, dhidden.dtype)
    d, dstate, past, state = dgates.reshape(-1), dhidden.reshape(-1), through.reshape(-1), before.reshape(-1)
    dreset, dupdate, dnew = d[:size], d[size : 2 * size], d[2 * size :]
    for back in range(steps):
        t = steps - 1 - back
        _add(doutputs, t, dhidden)
        before[:] = hidden if t == 0 else outputs[:, t - 1]
        now, product = gates[t].reshape(-1), products[t].reshape(-1)
        reset, update, new = now[:size], now[size : 2 * size], now[2 * size :]
        for k in range(size):
            r, z, n, dh = reset[k], update[k], new[k], dstate[k]
            past[k] = dh * z
            dn = dh * (one - z) * (one - n * n)
            dreset[k] = dn * product[k] * r * (one - r)
            dupdate[k] = dh * (state[k] - n) * z * (one - z)
            dnew[k] = dn
        dinputs[:, t] = dgates
        for k in range(size):
            dnew[k] *= reset[k]
        dproducts[:, t] = dgates
        multiply_transposed(starts, rows, order, values, dgates, dhidden)
        dhidden += through


@kernel
def _add(inputs: Array, t: int, sums: Array) -> None:
    """sums [features, n] += inputs [features, T, n] at step t."""
    for feature in range(sums.shape[0]):
        for s in range(sums.shape[1]):
            sums[feature, s] += inputs[feature, t, s]


@kernel
def _sigmoid(x: float, one: float) -> float:
    """one: 1 of the type of x, which Numba would widen otherwise."""
    return one / (one + exponential(-x))


@kernel
def _tanh(x: float, one: float) -> float:
    two = one + one
    return one - two / (one + exponential(two * x))
