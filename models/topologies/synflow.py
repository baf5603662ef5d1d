"""SynFlow: pruning without data that never cuts a layer through. Tanaka et al. 2020, arXiv 2006.05467."""

from typing import Literal

import torch
from torch import Tensor, nn

from models.connections import Connections
from models.data.samples import Samples
from models.layers import sparse_layers
from models.layers.activations import SReLU
from models.topologies.scoring import Scoring, Select, Values
from models.types import Count, setting
from models.untrained import Untrained

ACTIVATIONS = (nn.ReLU, nn.SiLU, nn.PReLU, nn.ELU, SReLU, nn.Sigmoid)


@setting
class SynFlow(Scoring):
    """Score |dR/dw · w|, R the sum of the outputs for an input of ones where every weight is its absolute value.

    Scores change as connections go, so they go in rounds, towards the asked number by equal factors. In double
    precision, batch norm by its running statistics; activations are left out, as R has none: for ReLU, whose inputs
    are positive there, that is the network itself.

    rounds  the paper's 100
    values  "kept" trains on from the weights scored, as the paper does; "redrawn" draws new ones
    """

    kind: Literal["synflow"] = "synflow"
    rounds: Count = 100
    values: Values = "kept"

    def batch(self, train: Samples, generator: torch.Generator) -> Samples | None:
        return None

    def choose(self, network: Untrained, select: Select, generator: torch.Generator) -> list[Connections]:
        del generator
        flow = positive(network.build())
        weights = network.weights(flow)
        inputs = torch.ones(1, *network.train.x.shape[1:], dtype=torch.float64)
        kept = [Connections.full(layer.weight) for layer in network.layers]
        for number in range(1, self.rounds + 1):
            found = scores(flow, weights, inputs)
            kept = select(
                [_among(each, active) for each, active in zip(found, kept, strict=True)], number / self.rounds
            )
            with torch.no_grad():
                for weight, active in zip(weights, kept, strict=True):
                    weight.mul_(active.mask())
        return kept


def positive(network: nn.Module) -> nn.Module:
    """`network` itself, now in double precision, without activations, every weight its absolute value."""
    flow = network.double().eval()
    for part in flow.modules():
        for name, child in part.named_children():
            if isinstance(child, ACTIVATIONS):
                setattr(part, name, nn.Identity())
    with torch.no_grad():
        for layer in sparse_layers(flow).values():
            layer.parameter.abs_()
    return flow


def scores(flow: nn.Module, weights: list[nn.Parameter], inputs: Tensor) -> list[Tensor]:
    """[total] of each weight: its share of what flows from ones at the inputs to the sum of the outputs."""
    gradients = torch.autograd.grad(flow(inputs).sum(), weights)
    return [(g * w.detach()).abs().flatten() for g, w in zip(gradients, weights, strict=True)]


def _among(score: Tensor, active: Connections) -> Tensor:
    # A connection still there may score 0, as those that are gone do.
    return score.masked_fill(~active.mask().flatten(), -torch.inf)
