"""LeNet-300-100 and LeNet-5 (Caffe's: valid padding, 20 and 50 channels). LeCun et al. 1998; Han et al. 2015."""

from dataclasses import replace
from typing import Literal, Self

from models.networks.mlp import MLP
from models.networks.shapes import scaled_width
from models.networks.stack import Activation, Convolution, Pool, Stack, Stacked
from models.types import Count, Momentum, setting


@setting
class LeNet300100(Stacked):
    kind: Literal["lenet_300_100"] = "lenet_300_100"
    activation: Activation = "relu"
    batch_norm: bool = False
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def stack(self) -> Stack:
        return self._as_mlp().stack()

    def scaled(self, factor: float) -> MLP:
        """A LeNet-300-100 of other widths is an ordinary MLP."""
        return self._as_mlp().scaled(factor)

    def _as_mlp(self) -> MLP:
        return MLP(
            widths=(300, 100),
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            keep_dense=self.keep_dense,
        )


@setting
class LeNet5(Stacked):
    """channels: of the two 5x5 convolutions, each followed by a pool; width: of the fully connected hidden layer."""

    kind: Literal["lenet5"] = "lenet5"
    channels: tuple[Count, Count] = (20, 50)
    width: Count = 500
    activation: Activation = "relu"
    batch_norm: bool = False
    dropout: Momentum = 0.0
    keep_dense: tuple[str, ...] = ()

    def stack(self) -> Stack:
        first, second = self.channels
        features = (Convolution(first, kernel=5), Pool(), Convolution(second, kernel=5), Pool())
        return Stack(features, (self.width,), self.activation, self.batch_norm, self.dropout)

    def scaled(self, factor: float) -> Self:
        first, second = self.channels
        channels = (scaled_width(first, factor), scaled_width(second, factor))
        return replace(self, channels=channels, width=scaled_width(self.width, factor))
