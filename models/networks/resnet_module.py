"""A residual network as it computes: steps, each added to a shortcut around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.layout import is_batch_innermost


@dataclass(frozen=True)
class Shortcut:
    """The identity, or every `stride`-th pixel with zeros for the channels that are missing. He et al. 2016, option A.

    x  [batch, channels, height, width] -> [batch, out, ceil(height / stride), ceil(width / stride)]; or [batch, out]
    """

    stride: int
    out: int

    def __call__(self, x: Tensor) -> Tensor:
        missing = self.out - x.shape[1]
        if self.stride == 1 and missing == 0:
            return x
        if not is_batch_innermost(x):
            return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, missing))
        # Padding in torch's own order would carry the batch outwards, and every later sum with it.
        kept = x.movedim(0, -1)[:, :: self.stride, :: self.stride]
        return torch.cat([kept, kept.new_zeros(missing, *kept.shape[1:])]).movedim(-1, 0)


@dataclass(frozen=True)
class Step:
    """Modules by name, one after another; what they give is added to a shortcut around them.

    shortcut  None where nothing is added
    after     what follows the sum; None where nothing does
    """

    modules: tuple[str, ...]
    shortcut: Shortcut | None = None
    after: str | None = None


class ResidualNetwork(nn.Module):
    """Modules by name, and the steps in which they are taken."""

    def __init__(self, modules: Mapping[str, nn.Module], steps: Sequence[Step]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._steps = tuple(steps)

    def forward(self, x: Tensor) -> Tensor:
        for step in self._steps:
            x = self._taken(step, x)
        return x

    def _taken(self, step: Step, x: Tensor) -> Tensor:
        y = x
        for name in step.modules:
            y = self._apply_module(name, y)
        if step.shortcut is not None:
            y = y + step.shortcut(x) if step.modules else step.shortcut(x)
        return y if step.after is None else self._apply_module(step.after, y)

    def _apply_module(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = self.get_submodule(name)(x)
        return y


class GlobalAverage(nn.Module):
    """[batch, channels, height, width] to [batch, channels]: the mean of each channel; the batch lies as it lay."""

    def forward(self, x: Tensor) -> Tensor:
        if is_batch_innermost(x):
            return x.movedim(0, -1).flatten(1, 2).mean(dim=1).t()
        return x.mean(dim=(2, 3))
