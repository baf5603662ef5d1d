"""Dropout with a random stream of its own, so that a resumed or repeated training drops the same units."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.kernels.dropout import drop
from models.layers.draws import draws, limit
from models.layers.layout import FLOATS, is_batch_innermost


class Dropout(nn.Module):
    """In training, sets each input to 0 with probability `p` and divides the others by 1 - p. Srivastava et al. 2014.

    Each call takes one number from the stream, the seed of all its decisions: they are the same however the input lies
    in memory, and on every device. On a CPU they are remembered by it, and there is no second derivative.

    Raises: ValueError for p outside [0, 1).
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p: {p} is not allowed; it must be >= 0 and < 1")
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.is_cpu and x.dtype in FLOATS:
            dropped: Tensor = _Drop.apply(x, self.seed(), self.p)  # type: ignore[no-untyped-call]
            return dropped
        return x * self.factors(x)

    def factors(self, x: Tensor) -> Tensor:
        """What `forward` would multiply `x` [n, ...] with: 0 or 1 / (1 - p), by torch, on the device of `x`."""
        kept = draws(len(x), math.prod(x.shape[1:]), self.seed(), x.device) >= limit(self.p)
        return kept.view(x.shape).to(x.dtype) * (1 / (1 - self.p))

    def seed(self) -> int:
        """The next number of the stream: whoever calls the kernel with it drops what `forward` would have dropped."""
        return int(torch.randint(2**63 - 1, (), generator=self.generator))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: int, p: float) -> Tensor:
        ctx.seed, ctx.p = seed, p
        return _drop(x, seed, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        return _drop(dy, ctx.seed, ctx.p), None, None


def _drop(x: Tensor, seed: int, p: float) -> Tensor:
    if is_batch_innermost(x):
        order, shape, samples_are_rows = (*range(1, x.dim()), 0), (-1, len(x)), False
    else:
        x = x.contiguous()
        # Without a second dimension each number is a sample: all of them in one long row.
        samples_are_rows = x.dim() > 1
        order, shape = tuple(range(x.dim())), (len(x) if samples_are_rows else 1, -1)
    y = torch.empty_like(x)
    inputs, outputs = x.detach().numpy().transpose(order), y.numpy().transpose(order)
    if inputs.size:
        drop(inputs.reshape(shape), samples_are_rows, seed, p, outputs.reshape(shape))
    return y
