"""How far rewiring has moved the connections: topology distance between the first and the last."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from models.measures.measure import Trained
from models.networks.shapes import LayerShape, refuse_branches
from models.topology_distance import Output, nnstd
from models.types import setting


@setting
class Topology:
    """output: whether the last layer's units are matched like hidden ones, as published, or fixed."""

    kind: Literal["topology"] = "topology"
    output: Output = "matched"

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        refuse_branches([layer.weight for layer in layers])

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        last = [layer.connections for layer in trained.run.layers.values()]
        moved = nnstd(trained.first, last, self.output)
        return {"moved": moved.total, "moved_by_layer": list(moved.layers)}
