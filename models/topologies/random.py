"""Uniformly random connections, an exact number in each layer (Erdős–Rényi by exact count)."""

from collections.abc import Sequence
from typing import Literal

import torch

from models.connections import Connections, random_connections
from models.types import setting
from models.untrained import Untrained


@setting
class Random:
    kind: Literal["random"] = "random"

    def __call__(self, network: Untrained, counts: Sequence[int], generator: torch.Generator) -> list[Connections]:
        placed = zip(network.layers, counts, strict=True)
        return [random_connections(layer.weight, count, generator) for layer, count in placed]
