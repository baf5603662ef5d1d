"""What a topology is: where connections start, decided before the first step."""

from collections.abc import Sequence
from typing import Protocol

import torch

from models.connections import Connections
from models.untrained import Untrained


class Topology(Protocol):
    """Places an asked number of connections in each layer. Pure: randomness comes in through the generator."""

    def __call__(self, network: Untrained, counts: Sequence[int], generator: torch.Generator) -> list[Connections]:
        """Connections of each of `network.layers`, exactly counts[l] in layer l.

        Raises: ValueError where a layer has fewer weights than asked, or the topology does not fit the network.
        """
        ...
