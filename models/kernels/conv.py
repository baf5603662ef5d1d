"""Two-dimensional convolution with active weights alone: forward, and its gradients, one or both at once.

x [channels, height, width, batch] and y likewise, C-contiguous. Weights are the rows of a matrix
[outputs, channels * KH * KW]; column (c * KH + ky) * KW + kx reads input channel c. kernel_size, stride, dilation are
(vertical, horizontal), padding is the zeros (above, to the left); the size of y tells those below and to the right.

The sums of a tile of y stay in vector registers for all weights of an output channel (conv_tiles). The source is read
where it is or, where so many weights are active that it pays, from copies in the first-level cache (conv_plan).
"""

import numpy as np

from models.kernels.compiled import kernel
from models.kernels.conv_pack import Numbers
from models.kernels.conv_plan import Axis, Plan, backward_axis, forward_axis, make_plan
from models.kernels.conv_sweep import Connected, Shape, sweep
from models.kernels.structure import LARGEST, Indices, Starts
from models.kernels.vectors import BYTES

Pair = tuple[int, int]

MOST_TAPS = np.iinfo(np.int16).max


@kernel
def convolve(
    starts: Starts,
    columns: Indices,
    values: Numbers,
    x: Numbers,
    bias: Numbers,
    y: Numbers,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """y = conv(x, W) + bias.

    starts  [outputs + 1]
    columns [nnz]          ascending within a row
    values  [nnz]
    bias    [outputs], or empty
    """
    down = forward_axis(y.shape[1], kernel_size[0], stride[0], dilation[0], padding[0])
    across = forward_axis(y.shape[2], kernel_size[1], stride[1], dilation[1], padding[1])
    plan = _plan(x, y, columns.size, down, across, 1)
    start = bias if bias.size else np.zeros(y.shape[0], y.dtype)
    sweep(_connected(starts, columns, x.shape, plan), x, plan, y, (values, start), None)


@kernel
def convolve_transposed(
    starts: Starts,
    columns: Indices,
    order: Indices,
    values: Numbers,
    dy: Numbers,
    dx: Numbers,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """dx = the gradient in x, given that in y. `starts`, `columns` and `order` are those of `Structure.transposed`.

    values [nnz]  in the order of rows, as in `convolve`
    """
    _go_back(starts, columns, order, values, None, dy, dx, None, kernel_size, stride, padding, dilation)


@kernel
def gradients(
    starts: Starts,
    columns: Indices,
    order: Indices,
    values: Numbers,
    x: Numbers,
    dy: Numbers,
    dx: Numbers,
    grad: Numbers,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """What `convolve_transposed` and `correlate` compute, with dy read once for both.

    grad [nnz]  in the order of rows, as values
    """
    _go_back(starts, columns, order, values, x, dy, dx, grad, kernel_size, stride, padding, dilation)


@kernel
def _go_back(
    starts: Starts,
    columns: Indices,
    order: Indices,
    values: Numbers,
    x: Numbers | None,
    dy: Numbers,
    dx: Numbers,
    grad: Numbers | None,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """Places of x with the same remainder of the stride meet the same taps: one convolution of dy for each remainder,
    in which the products of dy with those places are the gradients in these taps' weights."""
    taps = kernel_size[0] * kernel_size[1]
    zeros = np.zeros(dx.shape[0], dx.dtype)
    met_starts, met_columns, met_order = np.empty_like(starts), np.empty_like(columns), np.empty_like(order)
    met = np.empty(taps, np.bool_)
    if grad is not None:
        grad[:] = 0
    for i in range(min(stride[0], dx.shape[1])):
        for j in range(min(stride[1], dx.shape[2])):
            down = backward_axis(dx.shape[1], i, kernel_size[0], stride[0], dilation[0], padding[0])
            across = backward_axis(dx.shape[2], j, kernel_size[1], stride[1], dilation[1], padding[1])
            for t in range(taps):
                met[t] = down.phases[t // kernel_size[1]] >= 0 and across.phases[t % kernel_size[1]] >= 0
            k = 0
            for c in range(starts.size - 1):
                met_starts[c] = k
                for p in range(starts[c], starts[c + 1]):
                    if met[columns[p] % taps]:
                        met_columns[k], met_order[k] = columns[p], order[p]
                        k += 1
            met_starts[-1] = k
            plan = _plan(dy, dx, k, down, across, 1 if grad is None else 2)
            connected = _connected(met_starts, met_columns[:k], dy.shape, plan)
            weights = values[met_order[:k]], zeros
            if x is None or grad is None:
                sweep(connected, dy, plan, dx, weights, None)
            else:
                products = np.zeros(k, grad.dtype)
                sweep(connected, dy, plan, dx, weights, (x, products))
                for p in range(k):
                    grad[met_order[p]] = products[p]


@kernel
def correlate(
    starts: Starts,
    columns: Indices,
    x: Numbers,
    dy: Numbers,
    grad: Numbers,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> None:
    """grad [nnz] = the gradient in each active weight."""
    down = forward_axis(dy.shape[1], kernel_size[0], stride[0], dilation[0], padding[0])
    across = forward_axis(dy.shape[2], kernel_size[1], stride[1], dilation[1], padding[1])
    plan = _plan(x, dy, columns.size, down, across, 1)
    grad[:] = 0
    sweep(_connected(starts, columns, x.shape, plan), x, plan, dy, None, (dy, grad))


@kernel
def _plan(source: Numbers, out: Numbers, nnz: int, down: Axis, across: Axis, kinds: int) -> Plan:
    channels, _, _, batch = source.shape
    near = source.size <= LARGEST and down.shifts.size * across.shifts.size <= MOST_TAPS
    return make_plan(channels, out.shape[0], nnz, down, across, batch, BYTES // source.itemsize, near, kinds)


@kernel
def _connected(starts: Starts, columns: Indices, source: Shape, plan: Plan) -> Connected:
    taps = plan.down.shifts.size * plan.across.shifts.size
    blocks = np.empty((starts.size - 1, plan.blocks + 1), np.int64)
    width = plan.near * taps
    for row in range(starts.size - 1):
        p = starts[row]
        blocks[row, 0] = p
        for block in range(1, plan.blocks):
            while p < starts[row + 1] and columns[p] < block * width:
                p += 1
            blocks[row, block] = p
        blocks[row, plan.blocks] = starts[row + 1]
    offsets = _offsets(source, plan)[columns]
    tap_of = np.empty(0 if plan.packed else columns.size, np.int16)
    for p in range(tap_of.size):
        tap_of[p] = columns[p] % taps
    return Connected(blocks, offsets, tap_of)


@kernel
def _offsets(source: Shape, plan: Plan) -> Indices:
    """For each column of the weight matrix: from an output's place in the source to what it reads."""
    channels, height, width, batch = source
    down, across = plan.down, plan.across
    offsets = np.zeros(channels * down.shifts.size * across.shifts.size, np.int32)
    k = 0
    for c in range(channels):
        for ty in range(down.shifts.size):
            for tx in range(across.shifts.size):
                phase_y, phase_x = down.phases[ty], across.phases[tx]
                if phase_y >= 0 and phase_x >= 0:
                    if plan.packed:
                        y = phase_y * plan.tall + down.shifts[ty] - down.low
                        x = phase_x * plan.wide + across.shifts[tx] - across.low
                        offsets[k] = (c * plan.plane + y * plan.line + x) * plan.lanes
                    else:
                        y = down.shifts[ty] * down.step + down.origins[phase_y]
                        x = across.shifts[tx] * across.step + across.origins[phase_x]
                        offsets[k] = ((c * height + y) * width + x) * batch
                k += 1
    return offsets
