"""torch's batch norm, without moving what a sparse layer left with its batch innermost."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.kernels.norm import normalise_rows, normalise_rows_backward, rescale_rows
from models.layers.layout import batch_innermost, go_along, is_batch_innermost, numbers, rows


class BatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d`. Where the batch is innermost it stays so, and there is no second derivative."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        normalised = _normalised(self, input)
        return super().forward(input) if normalised is None else normalised


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`. Where the batch is innermost it stays so, and there is no second derivative."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        normalised = _normalised(self, input)
        return super().forward(input) if normalised is None else normalised


def _normalised(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor | None:
    """None where torch has to normalise, or to complain."""
    if not is_batch_innermost(x) or x.shape[1] != norm.num_features:
        return None
    weight, bias, mean, variance = norm.weight, norm.bias, norm.running_mean, norm.running_var
    if not go_along(x, weight, bias, mean, variance):
        return None
    norm._check_input_dim(x)
    training, momentum = norm.training, norm.momentum
    by_batch = training or mean is None
    if training and not norm.track_running_stats:
        mean = variance = None
    elif training and (batches := norm.num_batches_tracked) is not None:
        batches.add_(1)
        if momentum is None:
            momentum = 1 / int(batches)
    normalised: Tensor = _BatchNorm.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, norm.eps, momentum or 0.0, mean, variance, by_batch
    )
    return normalised


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        epsilon: float,
        momentum: float,
        running_mean: Tensor | None,
        running_variance: Tensor | None,
        by_batch: bool,
    ) -> Tensor:
        y = torch.empty_like(x)
        inputs, outputs = rows(x), rows(y)
        scale, offset = numbers(weight, inputs), numbers(bias, inputs)
        mean, variance = numbers(running_mean, inputs), numbers(running_variance, inputs)
        statistics = np.empty((2, len(inputs)))
        if by_batch:
            normalise_rows(inputs, scale, offset, epsilon, momentum, mean, variance, statistics, outputs)
        else:
            rescale_rows(inputs, scale, offset, epsilon, mean, variance, statistics, outputs)
        ctx.save_for_backward(x, weight)
        ctx.statistics, ctx.by_batch = statistics, by_batch
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = torch.empty_like(x)
        dweight, dbias = (None, None) if weight is None else (torch.empty_like(weight), torch.empty_like(weight))
        inputs = rows(x)
        normalise_rows_backward(
            ctx.by_batch,
            inputs,
            rows(batch_innermost(dy)),
            numbers(weight, inputs),
            ctx.statistics,
            rows(dx),
            numbers(dweight, inputs),
            numbers(dbias, inputs),
        )
        return dx, dweight, dbias, None, None, None, None, None
