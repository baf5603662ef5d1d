"""Dropout with a random stream of its own, so that a resumed or repeated training drops the same units."""

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """In training, sets each input to 0 with probability `p` and divides the others by 1 - p. Srivastava et al. 2014.

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
        kept = torch.empty(x.shape, dtype=x.dtype, device=self.generator.device)
        kept.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)
        return x * kept.to(x.device)

    def extra_repr(self) -> str:
        return f"p={self.p}"
