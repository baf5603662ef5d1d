"""torch's layer norm, without moving what a sparse layer left with its batch innermost."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.kernels.norm import normalise_columns, normalise_columns_backward
from models.layers.layout import batch_innermost, go_along, is_batch_innermost, numbers, rows


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm`. For [batch, features] with the batch innermost it stays so, without a second derivative."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        served = (
            input.dim() == 2
            and is_batch_innermost(input)
            and self.normalized_shape == input.shape[1:]
            and go_along(input, self.weight, self.bias)
        )
        if not served:
            return super().forward(input)
        normalised: Tensor = _LayerNorm.apply(input, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return normalised


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float) -> Tensor:
        y = torch.empty_like(x)
        inputs = rows(x)
        statistics = np.empty((2, len(x)))
        normalise_columns(inputs, numbers(weight, inputs), numbers(bias, inputs), epsilon, statistics, rows(y))
        ctx.save_for_backward(x, weight)
        ctx.statistics, ctx.biased = statistics, bias is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = torch.empty_like(x)
        dweight = None if weight is None else torch.empty_like(weight)
        dbias = torch.empty_like(weight) if ctx.biased else None
        inputs = rows(x)
        normalise_columns_backward(
            inputs,
            rows(batch_innermost(dy)),
            numbers(weight, inputs),
            ctx.statistics,
            rows(dx),
            numbers(dweight, inputs),
            numbers(dbias, inputs),
        )
        return dx, dweight, dbias, None
