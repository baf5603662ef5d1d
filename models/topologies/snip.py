"""SNIP: connections whose presence the loss feels most. Lee, Ajanthan and Torr 2019, arXiv 1810.02340."""

from typing import Literal

import torch
from torch import Tensor

from models.connections import Connections
from models.data.samples import Samples
from models.gradient_flow import probing
from models.topologies.scoring import Scoring, Select, Values, drawn
from models.types import Count, setting
from models.untrained import Untrained


@setting
class SNIP(Scoring):
    """Connection sensitivity |dC/dm| = |g w|, m the indicator of a connection, on one mini-batch (section 4.1).

    The paper divides by the sum over all weights, which changes no order. Batch norm by the batch, dropout off.

    samples  of the mini-batch
    values   "kept" trains on from the weights scored, as the paper's algorithm does; "redrawn" draws new ones
    """

    kind: Literal["snip"] = "snip"
    samples: Count = 100
    values: Values = "kept"

    def batch(self, train: Samples, generator: torch.Generator) -> Samples:
        return drawn(train, self.samples, generator)

    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        return select(self.scores(network, self.batch(network.train, generator)))

    def scores(self, network: Untrained, batch: Samples) -> list[Tensor]:
        """[total] of each layer"""
        weights = network.weights(network.dense)
        with probing(network.dense):
            loss = network.loss(network.dense(batch.x), batch.y)
        gradients = torch.autograd.grad(loss, weights)
        return [(g * w.detach()).abs().flatten() for g, w in zip(gradients, weights, strict=True)]
