"""The norm of the whole gradient, all layers as one vector: what effective gradient flow was proposed against."""

import statistics
from collections.abc import Sequence
from typing import Any, Literal

import torch

from models.measures.measure import Trained
from models.networks.shapes import LayerShape
from models.types import setting


@setting
class GradientNorms:
    """norm_1, norm_2: of the gradient by all active weights, means over the points where EGF is measured.

    Tessera, Hooker and Rosman 2021, arXiv 2102.01670v2, compare them with EGF; norm_1 is EGF_1 times the layers.
    """

    kind: Literal["gradient_norms"] = "gradient_norms"

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Nothing: any network can be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        measured = trained.run.gradient_flow
        return {
            "norm_1": statistics.fmean(each.norm_1 for each in measured),
            "norm_2": statistics.fmean(each.norm_2 for each in measured),
        }
