"""What a topology is: where connections start, decided before the first step."""

from collections.abc import Sequence
from typing import Protocol

import torch

from models.connections import Connections
from models.networks.shapes import LayerShape


class Topology(Protocol):
    """Places an asked number of connections in each layer. Pure: randomness comes in through the generator."""

    def __call__(
        self, layers: Sequence[LayerShape], counts: Sequence[int], generator: torch.Generator
    ) -> list[Connections]:
        """Connections of each layer, exactly counts[l] in layer l.

        Raises: ValueError where a layer has fewer weights than asked.
        """
        ...
