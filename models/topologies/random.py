"""Uniformly random connections, an exact number in each layer (Erdős–Rényi by exact count)."""

from collections.abc import Sequence
from typing import Literal

import torch

from models.connections import Connections, random_connections
from models.networks.shapes import LayerShape
from models.types import setting


@setting
class Random:
    kind: Literal["random"] = "random"

    def __call__(
        self, layers: Sequence[LayerShape], counts: Sequence[int], generator: torch.Generator
    ) -> list[Connections]:
        return [random_connections(layer.weight, count, generator) for layer, count in zip(layers, counts, strict=True)]
