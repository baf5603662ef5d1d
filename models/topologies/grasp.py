"""GraSP: connections that the gradient flow needs. Wang, Zhang and Grosse 2020, arXiv 2002.07376."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from models.connections import Connections
from models.data.samples import Samples
from models.gradient_flow import probing
from models.layers import BatchNorm1d, BatchNorm2d, LayerNorm, MaxPool2d
from models.topologies.scoring import Scoring, Select, Values
from models.types import Count, Positive, setting
from models.untrained import Untrained

PLAIN: Mapping[type[nn.Module], type[nn.Module]] = {
    BatchNorm1d: nn.BatchNorm1d,
    BatchNorm2d: nn.BatchNorm2d,
    LayerNorm: nn.LayerNorm,
    MaxPool2d: nn.MaxPool2d,
}
"""Layers that have no second derivative where the batch is innermost, and torch's own, which have the same state."""


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
        """[total] of each layer. Raises: ValueError where the network has a layer without a second derivative."""
        module = network.build()
        for part in module.modules():
            part.__class__ = PLAIN.get(type(part), type(part))
        weights = network.weights(module)
        places = torch.arange(len(batch))
        halves = [batch.at(half) for half in (places[: len(batch) // 2], places[len(batch) // 2 :])]
        losses = [self._loss(network, module, half) for half in halves]
        _refuse_opaque(losses[0])
        per_half = [torch.autograd.grad(loss, weights, create_graph=True) for loss in losses]
        gradient = [first + second for first, second in zip(*per_half, strict=True)]
        along = torch.stack([(g * g.detach()).sum() for g in gradient]).sum()
        products = torch.autograd.grad(along, weights)
        return [(w.detach() * product).flatten() for w, product in zip(weights, products, strict=True)]

    def _loss(self, network: Untrained, module: nn.Module, half: Samples) -> Tensor:
        with probing(module):
            return network.loss(module(half.x) / self.temperature, half.y)


def _refuse_opaque(loss: Tensor) -> None:
    # Asked for some inputs alone, autograd passes over a function that is differentiable once as if it were constant.
    seen, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if isinstance(node, BackwardCFunction):
            raise ValueError(f"grasp needs a second derivative, which this network does not have ({node.name()})")
        if node is not None and node not in seen:
            seen.add(node)
            ahead.extend(before for before, _ in node.next_functions)
