"""What one would write with PyTorch alone, to measure against: dense, masked by hand, and torch's own pruning."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from models.connections import Connections


class Masked(nn.Linear):
    """A dense weight, multiplied by its mask at every forward, as in most published code."""

    mask: Tensor

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections.shape[1], connections.shape[0])
        self.register_buffer("mask", connections.mask().float())

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight * self.mask, self.bias)


class MaskedConv(nn.Conv2d):
    mask: Tensor

    def __init__(self, connections: Connections, stride: int, padding: int) -> None:
        out, into, size, _ = connections.shape
        super().__init__(into, out, size, stride, padding)
        self.register_buffer("mask", connections.mask().float())

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight * self.mask, self.bias, self.stride, self.padding)


def perceptron(
    kind: str, connections: Sequence[Connections], values: Sequence[Tensor], batch_norm: bool, dropout: float
) -> nn.Sequential:
    """kind: `dense`, `masked torch` or `torch prune`. values [out, in] of each layer, 0 where absent; biases are 0."""
    network = nn.Sequential()
    for number, (active, weight) in enumerate(zip(connections, values, strict=True)):
        layer = Masked(active) if kind == "masked torch" else nn.Linear(active.shape[1], active.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.zero_()
        if kind == "torch prune":
            prune.custom_from_mask(layer, "weight", active.mask().float())  # type: ignore[no-untyped-call]
        network.append(layer)
        if number < len(connections) - 1:
            if batch_norm:
                network.append(nn.BatchNorm1d(active.shape[0]))
            network.append(nn.ReLU())
            if dropout:
                network.append(nn.Dropout(dropout))
    return network
