"""Sharpness of the minimum that a training ended in."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch

from models.measures.measure import Trained
from models.networks.shapes import LayerShape
from models.sharpness import sharpness
from models.types import Count, Positive, setting


@setting
class Sharpness:
    """Of the mean training loss; see `models.sharpness`. Costs about 15 passes over its samples from each start.

    samples  at random out of the training part; None for all of them, or where there are no more
    """

    kind: Literal["sharpness"] = "sharpness"
    epsilon: Positive = 1e-3
    starts: Count = 3
    subspace: Count | None = None
    adaptive: bool = False
    samples: Count | None = None

    def refuse(self, layers: Sequence[LayerShape]) -> None:
        """Nothing: any network can be measured."""

    def __call__(self, trained: Trained, generator: torch.Generator) -> dict[str, Any]:
        run = trained.run
        train = run.split.train
        size = len(train) if self.samples is None else min(self.samples, len(train))
        part = train.at(torch.randperm(len(train), generator=generator)[:size])
        found = sharpness(
            run.network, part, run.loss, generator, self.epsilon, self.starts, self.subspace, self.adaptive
        )
        return asdict(found)
