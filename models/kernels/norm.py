"""Batch norm and layer norm, batch innermost.

x, y, dx, dy  [features, n], n the batch, or the positions of an image times the batch
weight, bias  [features], or empty where there are none
statistics    float64 [2, features or n]: mean and 1 / standard deviation of what is normalised together
"""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel

# No row is cut out of an array and no function is called in these loops: either costs more than a row of a small batch.
# Indices that start anywhere but at 0 are unsigned, or Numba looks for negative ones and cannot vectorise.

Array = np.ndarray[Any, Any]

# Numbers summed in their own precision before the sum goes on in float64.
_BLOCK = 4096
_BLOCK_OF_FEATURES = 128


@kernel
def normalise_rows(
    x: Array,
    weight: Array,
    bias: Array,
    epsilon: float,
    momentum: float,
    running_mean: Array,
    running_variance: Array,
    statistics: Array,
    y: Array,
) -> None:
    """Batch norm by the batch; moves the running statistics unless they are empty. n must be 2 at least."""
    number = x.dtype.type
    features, count = x.shape
    share, unbias = 1 / count, count / (count - 1)
    scaled, tracked = weight.size > 0, running_mean.size > 0
    for feature in range(features):
        # Almost any number is as good a centre as the mean. Where it lies so far out that digits cancel: once more.
        centre = (x[feature, 0] + x[feature, count - 1]) / number(2)
        rest = 0.0
        for attempt in range(2):
            if attempt == 1:
                centre = number(centre + rest)
            total = squares = 0.0
            for start in range(0, count, _BLOCK):
                part = square = number(0)
                for n in range(np.uint64(start), np.uint64(min(start + _BLOCK, count))):
                    apart = x[feature, n] - centre
                    part += apart
                    square += apart * apart
                total += part
                squares += square
            rest = total * share
            variance = squares * share - rest * rest
            if not rest * rest > 4 * variance:
                break
        deviation = 1 / np.sqrt(variance + epsilon)
        statistics[0, feature] = centre + rest
        statistics[1, feature] = deviation
        if tracked:
            running_mean[feature] += momentum * (centre + rest - running_mean[feature])
            running_variance[feature] += momentum * (variance * unbias - running_variance[feature])
        slope, level = deviation, 0.0
        if scaled:
            slope *= weight[feature]
            level += bias[feature]
        scale, offset = number(slope), number(level - rest * slope)
        for n in range(count):
            y[feature, n] = (x[feature, n] - centre) * scale + offset


@kernel
def rescale_rows(
    x: Array,
    weight: Array,
    bias: Array,
    epsilon: float,
    running_mean: Array,
    running_variance: Array,
    statistics: Array,
    y: Array,
) -> None:
    """Batch norm by the running statistics."""
    number = x.dtype.type
    features, count = x.shape
    scaled = weight.size > 0
    for feature in range(features):
        centre, slope, level = running_mean[feature], 1 / np.sqrt(running_variance[feature] + epsilon), 0.0
        statistics[0, feature] = centre
        statistics[1, feature] = slope
        if scaled:
            slope *= weight[feature]
            level += bias[feature]
        scale, offset = number(slope), number(level)
        for n in range(count):
            y[feature, n] = (x[feature, n] - centre) * scale + offset


@kernel
def normalise_rows_backward(
    by_batch: bool, x: Array, dy: Array, weight: Array, statistics: Array, dx: Array, dweight: Array, dbias: Array
) -> None:
    """by_batch: whether mean and deviation are the batch's own, and so have a gradient. dweight, dbias: or empty."""
    number = x.dtype.type
    features, count = x.shape
    share = 1 / count
    scaled = weight.size > 0
    for feature in range(features):
        mean, deviation = statistics[0, feature], statistics[1, feature]
        centre = number(mean)
        total = products = 0.0
        for start in range(0, count, _BLOCK):
            part = product = number(0)
            for n in range(np.uint64(start), np.uint64(min(start + _BLOCK, count))):
                part += dy[feature, n]
                product += dy[feature, n] * (x[feature, n] - centre)
            total += part
            products += product
        rest = mean - centre
        products = (products - rest * total) * deviation
        slope = deviation
        if scaled:
            dweight[feature] = products
            dbias[feature] = total
            slope *= weight[feature]
        scale = number(slope)
        if by_batch:
            # dx = slope * (dy - total / n - normalised * products / n), as one line in dy and x - centre
            tilt = -slope * deviation * products * share
            across, offset = number(tilt), number(-slope * total * share - tilt * rest)
            for n in range(count):
                dx[feature, n] = scale * dy[feature, n] + (across * (x[feature, n] - centre) + offset)
        else:
            for n in range(count):
                dx[feature, n] = scale * dy[feature, n]


@kernel
def normalise_columns(x: Array, weight: Array, bias: Array, epsilon: float, statistics: Array, y: Array) -> None:
    """Layer norm: each column by itself."""
    number = x.dtype.type
    features, count = x.shape
    scaled, biased = weight.size > 0, bias.size > 0
    total, squares = np.zeros(count), np.zeros(count)
    part, square = np.empty_like(y[0]), np.empty_like(y[0])
    centre, deviation, shift = np.empty_like(part), np.empty_like(part), np.empty_like(part)
    for start in range(0, features, _BLOCK_OF_FEATURES):
        part[:] = 0
        for feature in range(np.uint64(start), np.uint64(min(start + _BLOCK_OF_FEATURES, features))):
            for n in range(count):
                part[n] += x[feature, n]
        for n in range(count):
            total[n] += part[n]
    for n in range(count):
        centre[n] = total[n] / features
        total[n] = 0
    # The second pass corrects the first one's mean, whose rounding is then of no matter.
    for start in range(0, features, _BLOCK_OF_FEATURES):
        part[:] = 0
        square[:] = 0
        for feature in range(np.uint64(start), np.uint64(min(start + _BLOCK_OF_FEATURES, features))):
            for n in range(count):
                apart = x[feature, n] - centre[n]
                part[n] += apart
                square[n] += apart * apart
        for n in range(count):
            total[n] += part[n]
            squares[n] += square[n]
    for n in range(count):
        rest = total[n] / features
        exact = 1 / np.sqrt(squares[n] / features - rest * rest + epsilon)
        statistics[0, n], statistics[1, n] = centre[n] + rest, exact
        deviation[n], shift[n] = exact, -rest * exact
    for feature in range(features):
        scale, offset = number(1), number(0)
        if scaled:
            scale = weight[feature]
        if biased:
            offset = bias[feature]
        for n in range(count):
            y[feature, n] = ((x[feature, n] - centre[n]) * deviation[n] + shift[n]) * scale + offset


@kernel
def normalise_columns_backward(
    x: Array, dy: Array, weight: Array, statistics: Array, dx: Array, dweight: Array, dbias: Array
) -> None:
    number = x.dtype.type
    features, count = x.shape
    scaled, biased = dweight.size > 0, dbias.size > 0
    total, products = np.zeros(count), np.zeros(count)
    part, product = np.empty_like(dx[0]), np.empty_like(dx[0])
    centre, deviation, shift = np.empty_like(part), np.empty_like(part), np.empty_like(part)
    for n in range(count):
        centre[n], deviation[n] = statistics[0, n], statistics[1, n]
        shift[n] = (centre[n] - statistics[0, n]) * statistics[1, n]
    for start in range(0, features, _BLOCK_OF_FEATURES):
        part[:] = 0
        product[:] = 0
        for feature in range(np.uint64(start), np.uint64(min(start + _BLOCK_OF_FEATURES, features))):
            scale, of_weight, of_bias = number(1), number(0), number(0)
            if scaled:
                scale = weight[feature]
            for n in range(count):
                up = dy[feature, n]
                across = up * ((x[feature, n] - centre[n]) * deviation[n] + shift[n])
                of_bias += up
                of_weight += across
                part[n] += scale * up
                product[n] += scale * across
            if scaled:
                dweight[feature] = of_weight
            if biased:
                dbias[feature] = of_bias
        for n in range(count):
            total[n] += part[n]
            products[n] += product[n]
    # dx = deviation * (weight * dy - total / features - normalised * products / features)
    for n in range(count):
        tilt = -deviation[n] * products[n] / features
        part[n] = -deviation[n] * total[n] / features + tilt * shift[n]
        product[n] = tilt * deviation[n]
    for feature in range(features):
        scale = number(1)
        if scaled:
            scale = weight[feature]
        for n in range(count):
            down = product[n] * (x[feature, n] - centre[n]) + part[n]
            dx[feature, n] = scale * deviation[n] * dy[feature, n] + down
