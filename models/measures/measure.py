"""What a measure of a trained network is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from models.connections import Connections
from models.networks.shapes import LayerShape
from models.training import Run


@dataclass(frozen=True, eq=False)
class Trained:
    """A run that is over."""

    run: Run

    @property
    def first(self) -> tuple[Connections, ...]:
        """The connections it began with, layer by layer."""
        return self.run.first


class Measure(Protocol):
    """A setting that is called once, after the last epoch."""

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Raises: ValueError, where a network of such layers cannot be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        """What it found, as JSON can hold it. The network is left as it was, bit for bit."""
