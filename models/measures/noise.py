"""Robustness: accuracy on held-out inputs with Gaussian noise added.

One of the corruptions of Hendrycks and Dietterich, ICLR 2019, arXiv 1903.12261; the strengths are ours.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import MinLen

from models.data.samples import Samples
from models.evaluation import evaluate
from models.measures.measure import Trained
from models.networks.shapes import LayerShape
from models.types import setting


@setting
class Noise:
    """deviations: of the noise, in standard deviations of the input (of a feature, of a channel of an image).

    One draw serves all deviations, so that they differ in strength alone.
    """

    kind: Literal["noise"] = "noise"
    deviations: Annotated[tuple[float, ...], MinLen(1)] = (0.1, 0.2, 0.5, 1.0)

    def __post_init__(self) -> None:
        if not all(0 < each < float("inf") for each in self.deviations):
            raise ValueError(f"deviations: {list(self.deviations)} is not allowed; each must be a finite number > 0")

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Nothing: any network can be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        run, held_out = trained.run, trained.run.split.held_out
        noise = torch.randn(held_out.x.shape, generator=generator).to(held_out.x.device)
        found = [
            evaluate(run.network, Samples(held_out.x + each * noise, held_out.y), run.loss, run.split.classes)
            for each in self.deviations
        ]
        return {
            "deviations": list(self.deviations),
            "accuracies": [each.accuracy for each in found],
            "losses": [each.loss for each in found],
        }
