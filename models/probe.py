"""When a training measures its gradient flow, and on which samples."""

from dataclasses import dataclass

import torch
from torch import nn

from models.data.samples import Samples
from models.gradient_flow import gradients, mean_norm, probing, whole_norm
from models.layers import sparse_layers
from models.losses import LossFunction

LARGEST = 2048  # samples
POINTS = 10  # measures after the one before training: 11 in all, as published
COST = 0.05  # largest share of the training's samples that all measures together may see


@dataclass(frozen=True)
class GradientFlow:
    """EGF_1 and EGF_2 after `epoch` epochs; 0 is before training. norm_1, norm_2: of all layers' gradients as one."""

    epoch: int
    egf_1: float
    egf_2: float
    norm_1: float
    norm_2: float


@dataclass(frozen=True, eq=False)
class Probe:
    """A fixed sample of the training data, not augmented, and the epochs after which it is used."""

    samples: Samples
    epochs: frozenset[int]

    def measure(self, network: nn.Module, loss: LossFunction, epoch: int) -> GradientFlow:
        layers = list(sparse_layers(network).values())
        with probing(network):
            found = gradients(layers, loss(network(self.samples.x), self.samples.y))
        ones = [1] * len(layers)
        egf = mean_norm(found, 1, ones), mean_norm(found, 2, ones)
        return GradientFlow(epoch, *egf, whole_norm(found, 1), whole_norm(found, 2))


def probe(train: Samples, epochs: int, batch_size: int, generator: torch.Generator) -> Probe:
    """An eighth of `train`, at most 2,048 samples and 5 % of the training's work, but no less than one batch."""
    measured = measured_epochs(epochs)
    affordable = int(COST * len(train) * epochs / len(measured))
    size = min(max(min(LARGEST, len(train) // 8, affordable), batch_size), len(train))
    return Probe(train.at(torch.randperm(len(train), generator=generator)[:size].sort().values), measured)


def measured_epochs(epochs: int) -> frozenset[int]:
    """0, `epochs` and nine evenly between, to the nearest epoch; all of them, where there are fewer than ten."""
    if epochs < POINTS:
        return frozenset(range(epochs + 1))
    return frozenset((2 * point * epochs + POINTS) // (2 * POINTS) for point in range(POINTS + 1))
