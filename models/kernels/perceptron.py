"""A stretch of a perceptron's training without leaving compiled code: small networks spend their time on calls.

Batch innermost: every array of units is [units, batch]. Parameters lie end to end in one vector, the decaying first.
"""

from typing import Any, NamedTuple

import numpy as np

from models.kernels.activations import activate, slope
from models.kernels.blocks import Columns, Rows
from models.kernels.compiled import kernel
from models.kernels.dropout import drop
from models.kernels.exponential import exponential
from models.kernels.linear import correlate, gradients, multiply
from models.kernels.norm import normalise_rows, normalise_rows_backward

Array = np.ndarray[Any, Any]

CROSS_ENTROPY, MSE = range(2)
SGD, ADAM, ADAMW = range(3)


class Network(NamedTuple):
    """Layers l = 0 ... L - 1; `..._at[l]` is where what belongs to layer l begins.

    sizes       [L + 1]  units, inputs first
    values_at   [L + 1]  in parameters and `order`; in `columns` and `rows` each layer has one number more
    starts_at   [L + 1]  in `starts`; `places` and `owners`, the rows, have one number less in each layer
    starts_t_at [L + 1]  in `starts_t`; `owners_t`, the columns, have one less in each layer but the first, with none
    biases_at   [L]      in parameters; -1 where there is none
    norms_at    [L]      weights of the batch norm in parameters, its biases behind them; -1 where there is none
    units_at    [L]      in the running statistics
    dropouts    [L]      probability; 0 for none
    activations [L - 1]  after all layers but the last
    """

    sizes: Array
    values_at: Array
    starts_at: Array
    starts_t_at: Array
    biases_at: Array
    norms_at: Array
    units_at: Array
    dropouts: Array
    activations: Array
    starts: Array
    columns: Array
    places: Array
    owners: Array
    starts_t: Array
    rows: Array
    order: Array
    owners_t: Array


class Recipe(NamedTuple):
    """decaying: how many of the parameters decay; one, two: momentum and Nesterov (1 or 0) of SGD, betas of Adam."""

    loss: int
    optimizer: int
    decay: float
    decaying: int
    one: float
    two: float
    epsilon: float
    norm_epsilon: float
    norm_momentum: float


@kernel
def learn(
    network: Network,
    recipe: Recipe,
    parameters: Array,
    moments: Array,
    running: Array,
    x: Array,
    y: Array,
    order: Array,
    sizes: Array,
    rates: Array,
    seeds: Array,
    done: int,
    losses: Array,
) -> None:
    """Optimizer steps over the batches of `order`, in place.

    parameters [p], moments [2, p], running [2, units]   weights, optimizer state, batch norms' mean and variance
    x [n, inputs], y [n]      all samples
    order [sum of sizes]      the samples of the batches, one batch after the other
    sizes, rates [steps]      samples of each batch, learning rate of each step
    seeds [steps, L]          of the dropouts
    done                      steps before the first of these
    losses [steps]            mean over each batch, before its step
    """
    layers = network.sizes.size - 1
    largest, widest = sizes.max(), network.sizes.max()
    room = network.sizes.sum() * largest
    inputs, sums = np.empty(room, x.dtype), np.empty(room, x.dtype)
    normed, active = np.empty(room, x.dtype), np.empty(room, x.dtype)
    error, upward = np.empty(widest * largest, x.dtype), np.empty(widest * largest, x.dtype)
    statistics = np.empty((layers, 2, widest))
    gradient = np.empty_like(parameters)
    nothing = np.empty(0, x.dtype)
    begins = np.zeros(layers + 2, np.int64)
    for layer in range(layers + 1):
        begins[layer + 1] = begins[layer] + network.sizes[layer] * largest

    first = 0
    for step in range(sizes.size):
        batch = sizes[step]
        chosen = order[first : first + batch]
        first += batch
        _gather(x, chosen, _units(inputs, begins[0], network.sizes[0], batch))
        for layer in range(layers):
            count = network.sizes[layer + 1]
            a = _units(inputs, begins[layer], network.sizes[layer], batch)
            z = _units(sums, begins[layer + 1], count, batch)
            at, bias_at, norm_at = network.values_at[layer], network.biases_at[layer], network.norms_at[layer]
            bias = nothing if bias_at < 0 else parameters[bias_at : bias_at + count]
            multiply(_by_rows(network, layer), parameters[at : network.values_at[layer + 1]], a, bias, z)
            if layer == layers - 1:
                break
            if norm_at >= 0:
                unit = network.units_at[layer]
                before, z = z, _units(normed, begins[layer + 1], count, batch)
                normalise_rows(
                    before,
                    parameters[norm_at : norm_at + count],
                    parameters[norm_at + count : norm_at + 2 * count],
                    recipe.norm_epsilon,
                    recipe.norm_momentum,
                    running[0, unit : unit + count],
                    running[1, unit : unit + count],
                    statistics[layer, :, :count],
                    z,
                )
            h = _units(active, begins[layer + 1], count, batch)
            following = _units(inputs, begins[layer + 1], count, batch)
            if network.dropouts[layer] > 0:
                activate(network.activations[layer], z, h)
                drop(h, False, seeds[step, layer], network.dropouts[layer], following)
            else:
                activate(network.activations[layer], z, following)

        outputs = _units(sums, begins[layers], network.sizes[layers], batch)
        e = _units(error, 0, network.sizes[layers], batch)
        losses[step] = (
            _softmax_error(outputs, y, chosen, e)
            if recipe.loss == CROSS_ENTROPY
            else _squared_error(outputs, y, chosen, e)
        )

        for layer in range(layers - 1, -1, -1):
            count, width = network.sizes[layer + 1], network.sizes[layer]
            e = _units(error, 0, count, batch)
            a = _units(inputs, begins[layer], width, batch)
            at, end, bias_at = network.values_at[layer], network.values_at[layer + 1], network.biases_at[layer]
            if bias_at >= 0:
                for unit in range(count):
                    gradient[bias_at + unit] = e[unit].sum()
            if layer == 0:
                correlate(_by_rows(network, layer), a, e, gradient[at:end])
                break
            u = _units(upward, 0, width, batch)
            gradients(_by_columns(network, layer), parameters[at:end], a, e, u, gradient[at:end])
            below = layer - 1
            h = a
            if network.dropouts[below] > 0:
                drop(u, False, seeds[step, below], network.dropouts[below], u)
                h = _units(active, begins[layer], width, batch)
            norm_at = network.norms_at[below]
            before = _units(sums, begins[layer], width, batch)
            z = before if norm_at < 0 else _units(normed, begins[layer], width, batch)
            slope(network.activations[below], z, h, u)
            e = _units(error, 0, width, batch)
            if norm_at >= 0:
                normalise_rows_backward(
                    True,
                    before,
                    u,
                    parameters[norm_at : norm_at + width],
                    statistics[below, :, :width],
                    e,
                    gradient[norm_at : norm_at + width],
                    gradient[norm_at + width : norm_at + 2 * width],
                )
            else:
                error, upward = upward, error

        _descend(recipe, parameters, gradient, moments, rates[step], done + step + 1)


@kernel
def _by_rows(network: Network, layer: int) -> Rows:
    begin, end = network.starts_at[layer], network.starts_at[layer + 1]
    columns = network.columns[network.values_at[layer] + layer : network.values_at[layer + 1] + layer + 1]
    pieces = slice(begin - layer, end - layer - 1)
    return Rows(network.starts[begin:end], columns, network.places[pieces], network.owners[pieces])


@kernel
def _by_columns(network: Network, layer: int) -> Columns:
    begin, end = network.values_at[layer], network.values_at[layer + 1]
    at, to = network.starts_t_at[layer], network.starts_t_at[layer + 1]
    rows, owners = network.rows[begin + layer : end + layer + 1], network.owners_t[at - layer + 1 : to - layer]
    return Columns(network.starts_t[at:to], rows, network.order[begin:end], owners)


@kernel
def _units(room: Array, begin: int, count: int, batch: int) -> Array:
    return room[begin : begin + count * batch].reshape(count, batch)


@kernel
def _gather(x: Array, chosen: Array, a: Array) -> None:
    """a [inputs, batch]: the chosen rows of x, transposed in tiles that stay in the first cache."""
    tile = 16
    for start in range(0, x.shape[1], tile):
        stop = min(start + tile, x.shape[1])
        for n in range(chosen.size):
            row = x[chosen[n]]
            for j in range(start, stop):
                a[j, n] = row[j]


@kernel
def _softmax_error(outputs: Array, y: Array, chosen: Array, e: Array) -> float:
    """Cross-entropy, its mean over the batch; e: its gradient by the outputs."""
    classes, batch = outputs.shape
    share = 1 / batch
    highest, total = outputs[0].copy(), np.zeros_like(outputs[0])
    for c in range(1, classes):
        for n in range(batch):
            highest[n] = max(highest[n], outputs[c, n])
    for c in range(classes):
        for n in range(batch):
            e[c, n] = exponential(outputs[c, n] - highest[n])
            total[n] += e[c, n]
    loss = 0.0
    for n in range(batch):
        label = y[chosen[n]]
        loss += np.log(total[n]) + highest[n] - outputs[label, n]
        total[n] = share / total[n]
    for c in range(classes):
        for n in range(batch):
            e[c, n] *= total[n]
    for n in range(batch):
        e[y[chosen[n]], n] -= share
    return float(loss * share)


@kernel
def _squared_error(outputs: Array, y: Array, chosen: Array, e: Array) -> float:
    """Half the squared error of the outputs' sigmoid, summed over classes, its mean over the batch."""
    classes, batch = outputs.shape
    share = 1 / batch
    loss = 0.0
    for c in range(classes):
        for n in range(batch):
            output = 1 / (1 + exponential(-outputs[c, n]))
            apart = output - (1.0 if y[chosen[n]] == c else 0.0)
            loss += apart * apart
            e[c, n] = share * apart * output * (1 - output)
    return float(loss * share / 2)


@kernel
def _descend(recipe: Recipe, parameters: Array, gradient: Array, moments: Array, rate: float, step: int) -> None:
    number = parameters.dtype.type
    lr, one, two = number(rate), number(recipe.one), number(recipe.two)
    for segment in range(2):
        begin, end = (0, recipe.decaying) if segment == 0 else (recipe.decaying, parameters.size)
        w, g, m, v = parameters[begin:end], gradient[begin:end], moments[0, begin:end], moments[1, begin:end]
        decay = number(recipe.decay if segment == 0 else 0.0)
        if recipe.optimizer == SGD:
            for p in range(w.size):
                slope = g[p] + decay * w[p]
                m[p] = one * m[p] + slope
                w[p] -= lr * (slope + one * m[p] if two > 0 else m[p])
            continue
        shrink = number(1 - rate * recipe.decay) if segment == 0 and recipe.optimizer == ADAMW else number(1)
        coupled = decay if recipe.optimizer == ADAM else number(0)
        pace = number(rate / (1 - recipe.one**step))
        root = number(1 / np.sqrt(1 - recipe.two**step))
        epsilon = number(recipe.epsilon)
        for p in range(w.size):
            w[p] *= shrink
            slope = g[p] + coupled * w[p]
            m[p] += (number(1) - one) * (slope - m[p])
            v[p] = two * v[p] + (number(1) - two) * slope * slope
            w[p] -= pace * m[p] / (np.sqrt(v[p]) * root + epsilon)
