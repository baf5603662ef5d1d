"""Multilayer perceptrons of any widths."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal, Self

import torch
from annotated_types import MinLen
from torch import nn

from models.connections import Connections
from models.networks.resnet_module import ResidualNetwork, Shortcut, Step
from models.networks.shapes import scaled_width
from models.networks.stack import Activation, Stack, Stacked
from models.types import Count, Momentum, Storage, setting


@setting
class MLP(Stacked):
    """widths: hidden widths; keep_dense: names of layers (`fc1`, ..., `output`) that stay dense.

    skip  a hidden layer of the width of the one before adds to what it gets: h + activation(W h)
    """

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[Count, ...], MinLen(1)] = (300, 100)
    activation: Activation = "relu"
    batch_norm: bool = False
    dropout: Momentum = 0.0
    skip: bool = False
    keep_dense: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.skip and not any(self._adds()):
            raise ValueError(f"skip: two hidden layers of one width have to follow each other, not {list(self.widths)}")

    def stack(self) -> Stack:
        return Stack((), self.widths, self.activation, self.batch_norm, self.dropout)

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        plain = super().build(input_shape, classes, connections, generator, storage)
        return self._with_skips(dict(plain.named_children())) if self.skip else plain

    def _adds(self) -> list[bool]:
        """Of each layer, whether it adds to what it gets."""
        return [False, *(one == other for one, other in pairwise(self.widths)), False]

    def _with_skips(self, modules: Mapping[str, nn.Module]) -> ResidualNetwork:
        names = [*(f"fc{number}" for number in range(1, len(self.widths) + 1)), "output"]
        steps = [Step(tuple(name for name in modules if name == "flatten"))]
        for name, adds, width in zip(names, self._adds(), (*self.widths, 0), strict=True):
            own = tuple(each for each in modules if each.partition("_")[0] == name)
            steps.append(Step(own, Shortcut(1, width) if adds else None))
        return ResidualNetwork(modules, steps)

    def scaled(self, factor: float) -> Self:
        return replace(self, widths=tuple(scaled_width(width, factor) for width in self.widths))
