"""A network before its first step, as far as a topology may look at it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from models.data.samples import Samples
from models.layers import sparse_layers
from models.losses import LossFunction
from models.networks.shapes import LayerShape


@dataclass(frozen=True, eq=False)
class Untrained:
    """What most topologies need is `layers`; all else is made when it is first asked for.

    layers    where connections are to be placed, from input to output; layers kept dense are not among them
    train     the samples to learn from, not augmented
    loss      the training's loss function
    data_dir  where files that a job names lie
    build     makes the network with every weight active, at its first values
    """

    layers: tuple[LayerShape, ...]
    train: Samples
    loss: LossFunction
    data_dir: Path | None
    build: Callable[[], nn.Module]

    @cached_property
    def dense(self) -> nn.Module:
        """The network with every weight active, to be read and left as it is."""
        return self.build()

    def weights(self, module: nn.Module) -> list[nn.Parameter]:
        """[*shape] of each of `layers`, in `dense` or a copy of it."""
        found = sparse_layers(module)
        return [found[layer.name].parameter for layer in self.layers]

    def values(self) -> list[Tensor]:
        """[total] of each of `layers`: its first weights, flat."""
        return [weight.detach().flatten() for weight in self.weights(self.dense)]
