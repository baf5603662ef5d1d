"""The largest first weights: the baseline of pruning at initialisation (Frankle et al. 2021, arXiv 2009.08576)."""

from typing import Literal

import torch

from models.connections import Connections
from models.data.samples import Samples
from models.topologies.scoring import Scoring, Select, Values
from models.types import setting
from models.untrained import Untrained


@setting
class Magnitude(Scoring):
    """Score |w|. values: "kept" trains on from the weights scored, "redrawn" draws new ones for the connections."""

    kind: Literal["magnitude"] = "magnitude"
    values: Values = "kept"

    def batch(self, train: Samples, generator: torch.Generator) -> Samples | None:
        return None

    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        del generator
        return select([weight.abs() for weight in network.values()])
