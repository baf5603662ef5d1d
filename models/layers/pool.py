"""torch's max pooling, without moving what a sparse layer left with its batch innermost."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.kernels.pool import Geometry, max_pool, max_pool_backward
from models.layers.layout import Array, batch_innermost, is_batch_innermost

# Places of a window that one byte can tell apart.
_PLACES = 256


class MaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d`. Where the batch is innermost it stays so, and there is no second derivative.

    Dilated windows, `ceil_mode`, `return_indices` and windows of more than 256 places are torch's own.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        geometry = self._geometry(input) if input.dim() == 4 and is_batch_innermost(input) else None
        if geometry is None:
            pooled: Tensor = super().forward(input)
        else:
            pooled = _MaxPool.apply(input, geometry)  # type: ignore[no-untyped-call]
        return pooled

    def _geometry(self, x: Tensor) -> Geometry | None:
        """None where torch has to pool, or to complain."""
        (tall, wide), (down, right) = _pair(self.kernel_size), _pair(self.stride)
        (above, before), dilation = _pair(self.padding), _pair(self.dilation)
        served = (
            dilation == (1, 1)
            and not self.ceil_mode
            and not self.return_indices
            and 0 < tall * wide <= _PLACES
            and min(down, right) > 0
            and 0 <= above <= tall // 2
            and 0 <= before <= wide // 2
            and x.shape[2] + 2 * above >= tall
            and x.shape[3] + 2 * before >= wide
        )
        return (tall, wide, down, right, above, before) if served else None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry) -> Tensor:
        tall, wide, down, right, above, before = geometry
        batch, channels, height, width = x.shape
        height, width = (height + 2 * above - tall) // down + 1, (width + 2 * before - wide) // right + 1
        y = torch.empty_strided(
            (batch, channels, height, width), (1, height * width * batch, width * batch, batch), dtype=x.dtype
        )
        outputs = _images(y)
        chosen = np.empty(outputs.shape, np.uint8)
        max_pool(_images(x), geometry, outputs, chosen)
        ctx.geometry, ctx.chosen, ctx.shape, ctx.stride = geometry, chosen, x.shape, x.stride()
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        dx = torch.empty_strided(ctx.shape, ctx.stride, dtype=dy.dtype)
        max_pool_backward(_images(batch_innermost(dy)), ctx.chosen, ctx.geometry, _images(dx))
        return dx, None


def _images(x: Tensor) -> Array:
    """[channels, height, width, batch]"""
    array: Array = x.detach().numpy()
    return array.transpose(1, 2, 3, 0)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    vertical, horizontal = (value, value) if isinstance(value, int) else value
    return vertical, horizontal
