"""VGG-style networks: 3x3 convolutions, then fully connected layers. Simonyan and Zisserman 2014."""

from dataclasses import replace
from typing import Annotated, Literal, Self

from annotated_types import MinLen

from models.networks.shapes import scaled_width
from models.networks.stack import Activation, Convolution, Pool, Stack, Stacked
from models.types import Count, Momentum, setting


@setting
class VGG(Stacked):
    """channels: output channels of each convolution, "pool" for a 2x2 max-pooling; stride: of every convolution."""

    kind: Literal["vgg"] = "vgg"
    channels: Annotated[tuple[Count | Literal["pool"], ...], MinLen(1)] = (64, "pool", 128, "pool")
    stride: Count = 1
    widths: tuple[Count, ...] = (128,)
    activation: Activation = "relu"
    batch_norm: bool = True
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def stack(self) -> Stack:
        features = tuple(
            Pool() if channels == "pool" else Convolution(channels, kernel=3, stride=self.stride, padding=1)
            for channels in self.channels
        )
        return Stack(features, self.widths, self.activation, self.batch_norm, self.dropout)

    def scaled(self, factor: float) -> Self:
        channels: tuple[int | Literal["pool"], ...] = tuple(
            "pool" if each == "pool" else scaled_width(each, factor) for each in self.channels
        )
        return replace(self, channels=channels, widths=tuple(scaled_width(width, factor) for width in self.widths))
