"""What a network family is."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from models.connections import Connections
from models.networks.shapes import LayerShape
from models.types import Storage


class Network(Protocol):
    """A setting that knows the shapes of its weights before a single one is made.

    input_shape  (features,) or (channels, height, width)
    """

    @property
    def keep_dense(self) -> tuple[str, ...]:
        """Names of the layers whose density is not searched: they keep every connection."""

    def layers(self, input_shape: tuple[int, ...], classes: int) -> tuple[LayerShape, ...]:
        """The prunable weights, from input to output.

        Raises: ValueError, if the family cannot take such inputs.
        """

    def build(
        self,
        input_shape: tuple[int, ...],
        classes: int,
        connections: Sequence[Connections],
        generator: torch.Generator,
        storage: Storage = "auto",
    ) -> nn.Module:
        """The network, freshly initialised: [batch, *input_shape] to [batch, classes] before any softmax or sigmoid.

        Its sparse layers bear the names of `layers()`, in that order, and have `connections`. `generator` draws the
        weights, and later what dropout drops, unless the layer is given a stream of its own.
        """

    def scaled(self, factor: float) -> "Network":
        """The same depth, hidden widths and channels times `factor`, rounded, at least 1."""
