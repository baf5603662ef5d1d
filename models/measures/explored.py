"""The share of all possible connections that a training has tried, one time or another."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from models.measures.measure import Trained
from models.networks.shapes import LayerShape
from models.types import setting


@setting
class Explored:
    """R_s of in-time over-parameterisation (Liu et al., ICML 2021, arXiv 2102.02887), and of each layer."""

    kind: Literal["explored"] = "explored"

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Nothing: any network can be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        exploration = trained.exploration
        return {"explored": exploration.share, "explored_by_layer": list(exploration.shares)}
