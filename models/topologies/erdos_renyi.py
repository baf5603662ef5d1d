"""Erdős–Rényi by epsilon, the start of Sparse Evolutionary Training: Mocanu et al. 2018, Nat. Commun. 9:2383, Eq. 1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from models.allocation import erdos_renyi_epsilon
from models.connections import Connections, random_connections
from models.networks.shapes import LayerShape
from models.topologies.dictating import Dictating
from models.types import Positive, setting
from models.untrained import Untrained


@setting
class ErdosRenyi(Dictating):
    """Random connections, epsilon (in + out) of them between in and out units: linear in the neurons.

    A layer for which that is more than all is dense. The number is exact, where the paper's is right on average. In a
    convolution in and out are channels, and the density that follows holds for its kernels.
    """

    kind: Literal["erdos_renyi"] = "erdos_renyi"
    epsilon: Positive = 20.0

    def counts(self, layers: Sequence[LayerShape], data_dir: Path | None) -> tuple[int, ...]:
        del data_dir
        densities = erdos_renyi_epsilon(layers, self.epsilon)
        found = tuple(round(density * layer.total) for density, layer in zip(densities, layers, strict=True))
        for layer, count in zip(layers, found, strict=True):
            if count == 0:
                raise ValueError(f"epsilon: {self.epsilon} is not allowed; it leaves {layer.name} no connection")
        return found

    def place(self, network: Untrained, generator: torch.Generator) -> list[Connections]:
        counts = self.counts(network.layers, network.data_dir)
        placed = zip(network.layers, counts, strict=True)
        return [random_connections(layer.weight, count, generator) for layer, count in placed]
