"""Multilayer perceptrons of any widths."""

from dataclasses import replace
from typing import Annotated, Literal, Self

from annotated_types import MinLen

from models.networks.shapes import scaled_width
from models.networks.stack import Activation, Stack, Stacked
from models.types import Count, Momentum, setting


@setting
class MLP(Stacked):
    """widths: hidden widths; keep_dense: names of layers (`fc1`, ..., `output`) that stay dense."""

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[Count, ...], MinLen(1)] = (300, 100)
    activation: Activation = "relu"
    batch_norm: bool = False
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def stack(self) -> Stack:
        return Stack((), self.widths, self.activation, self.batch_norm, self.dropout)

    def scaled(self, factor: float) -> Self:
        return replace(self, widths=tuple(scaled_width(width, factor) for width in self.widths))
