"""Optimal Brain Damage at the first weights, by the empirical Fisher's diagonal. LeCun, Denker and Solla 1990."""

from typing import Literal

import torch
from torch import Tensor

from models.connections import Connections
from models.data.samples import Samples
from models.topologies.scoring import Scoring, Select, Values, drawn
from models.types import Count, setting
from models.untrained import Untrained


@setting
class OBD(Scoring):
    """Saliency h w² / 2, h the mean over samples of the squared gradient of each one's loss.

    A reconstruction: the paper prunes trained networks, with the diagonal of the Hessian itself. Each sample is alone,
    so batch norm goes by its running statistics, those of an untrained network; dropout is off.

    samples  over which the mean is taken
    values   "kept" trains on from the weights scored, "redrawn" draws new ones for the connections
    """

    kind: Literal["obd"] = "obd"
    samples: Count = 100
    values: Values = "kept"

    def batch(self, train: Samples, generator: torch.Generator) -> Samples:
        return drawn(train, self.samples, generator)

    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        return select(self.scores(network, self.batch(network.train, generator)))

    def scores(self, network: Untrained, batch: Samples) -> list[Tensor]:
        """[total] of each layer"""
        module = network.dense.eval()
        weights = network.weights(module)
        squares = [torch.zeros_like(weight) for weight in weights]
        for n in range(len(batch)):
            one = batch.at(torch.tensor([n]))
            gradients = torch.autograd.grad(network.loss(module(one.x), one.y), weights)
            for square, gradient in zip(squares, gradients, strict=True):
                square += gradient.square()
        module.train()
        return [
            (square / len(batch) * weight.detach().square() / 2).flatten()
            for square, weight in zip(squares, weights, strict=True)
        ]
