"""What a measure of a trained network is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from models.connections import Connections
from models.exploration import Exploration
from models.networks.shapes import LayerShape
from models.training import Run


@dataclass(frozen=True, eq=False)
class Trained:
    """A run that was watched, and is over."""

    run: Run

    @property
    def exploration(self) -> Exploration:
        assert self.run.exploration is not None, "what was not watched from its beginning cannot be told"
        return self.run.exploration

    @property
    def first(self) -> tuple[Connections, ...]:
        """The connections it began with, layer by layer."""
        return self.exploration.first


def watch(run: Run) -> None:
    """Of a run that has not begun, what measures ask about its way is remembered."""
    run.exploration = Exploration(tuple(layer.connections for layer in run.layers.values()))


class Measure(Protocol):
    """A setting that is called once, after the last epoch."""

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Raises: ValueError, where a network of such layers cannot be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        """What it found, as JSON can hold it. The network is left as it was, bit for bit."""
