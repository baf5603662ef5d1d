"""GraSP: connections that the gradient flow needs. Wang, Zhang and Grosse 2020, arXiv 2002.07376."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from models.connections import Connections
from models.data.samples import Samples
from models.gradient_flow import probing
from models.topologies.scoring import Scoring, Select, Values
from models.types import Count, Positive, setting
from models.untrained import Untrained


@setting
class GraSP(Scoring):
    """The authors remove the highest -w Hg: what is kept here is the highest w Hg.

    H is the Hessian, g the gradient of the loss of outputs / temperature, summed over the two halves of the batch, each
    half a batch of its own to batch norm. Dropout is off. The authors' halves hold different classes; here they are
    drawn at random.

    per_class  samples of each class
    values     "kept" trains on from the weights scored, as the paper does; "redrawn" draws new ones, as its authors'
               code does for linear layers (and this for all)
    """

    kind: Literal["grasp"] = "grasp"
    per_class: Count = 25
    temperature: Positive = 200.0
    values: Values = "kept"

    def batch(self, train: Samples, generator: torch.Generator) -> Samples:
        chosen = []
        for label in sorted(set(train.y.tolist())):
            places = (train.y == label).nonzero().flatten()
            if self.per_class > len(places):
                raise ValueError(
                    f"per_class: {self.per_class} is not allowed; class {label} has {len(places)} to train on"
                )
            chosen.append(places[torch.randperm(len(places), generator=generator)[: self.per_class]])
        together = torch.cat(chosen)
        return train.at(together[torch.randperm(len(together), generator=generator)])

    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        return select(self.scores(network, self.batch(network.train, generator)))

    def scores(self, network: Untrained, batch: Samples) -> list[Tensor]:
        """[total] of each layer"""
        weights = network.weights(network.dense)
        places = torch.arange(len(batch))
        halves = [batch.at(half) for half in (places[: len(batch) // 2], places[len(batch) // 2 :])]
        per_half = [torch.autograd.grad(self._loss(network, half), weights) for half in halves]
        gradient = [first + second for first, second in zip(*per_half, strict=True)]
        products = [self._product(network, half, weights, gradient) for half in halves]
        return [
            (weight.detach() * (first + second)).flatten()
            for weight, first, second in zip(weights, *products, strict=True)
        ]

    def _product(
        self, network: Untrained, half: Samples, weights: Sequence[Tensor], vector: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Hessian of the half's loss, times the vector."""
        gradient = torch.autograd.grad(self._loss(network, half), weights, create_graph=True)
        along = torch.stack([(g * v).sum() for g, v in zip(gradient, vector, strict=True)]).sum()
        return torch.autograd.grad(along, weights)

    def _loss(self, network: Untrained, half: Samples) -> Tensor:
        with probing(network.dense):
            return network.loss(network.dense(half.x) / self.temperature, half.y)
