"""The activations a network may ask for, by name."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "silu", "prelu", "elu", "srelu", "sigmoid"]


class SReLU(nn.Module):
    """S-shaped rectified linear unit: three straight pieces with learned joints and slopes. Jin et al., AAAI 2016.

    Outside [left, right] the slope is left_slope or right_slope; inside it is 1. One set of four for each feature.
    Starts as a leaky ReLU of slope .2.

    x  [batch, features, ...]
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.zeros(features))
        self.left_slope = nn.Parameter(torch.full((features,), 0.2))
        self.right = nn.Parameter(torch.ones(features))
        self.right_slope = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        per_feature = (-1, *(1 for _ in x.shape[2:]))
        left, right = self.left.view(per_feature), self.right.view(per_feature)
        above = self.right_slope.view(per_feature) * (x - right).relu()
        below = self.left_slope.view(per_feature) * (left - x).relu()
        return x.clamp(left, right) + above - below


_ACTIVATIONS: dict[Activation, Callable[[int], nn.Module]] = {
    "relu": lambda features: nn.ReLU(),
    "silu": lambda features: nn.SiLU(),
    "prelu": lambda features: nn.PReLU(features),
    "elu": lambda features: nn.ELU(),
    "srelu": SReLU,
    "sigmoid": lambda features: nn.Sigmoid(),
}


def activation(name: Activation, features: int) -> nn.Module:
    """The activation of this name; learned ones (PReLU, SReLU) have their parameters for each feature or channel.

    Raises: ValueError for an unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation: {name!r} is not allowed; it must be one of {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name](features)
