"""Topologies whose number of connections follows from the network's shapes, or from a file: nothing is searched."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch

from models.connections import Connections
from models.networks.shapes import LayerShape
from models.untrained import Untrained


class Dictating(ABC):
    """A topology that says itself how many connections each layer has; it places those counts and no others."""

    kind: str

    @abstractmethod
    def counts(self, layers: Sequence[LayerShape], data_dir: Path | None) -> tuple[int, ...]:
        """Connections of each layer.

        layers  all but those that are kept dense

        Raises: ValueError where the topology does not fit these layers, or its file cannot be read.
        """

    @abstractmethod
    def place(self, network: Untrained, generator: torch.Generator) -> list[Connections]:
        """The connections themselves."""

    def __call__(self, network: Untrained, counts: Sequence[int], generator: torch.Generator) -> list[Connections]:
        dictated = self.counts(network.layers, network.data_dir)
        if tuple(counts) != dictated:
            raise ValueError(f"counts: {list(counts)} is not allowed; {self.kind} dictates {list(dictated)}")
        return self.place(network, generator)
