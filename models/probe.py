"""When a training measures its gradient flow, and on which samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data.samples import Samples
from models.gradient_flow import gradients, mean_norm, probing, whole_norm
from models.layers import SparseLayer, sparse_layers
from models.losses import LossFunction

LARGEST = 2048  # samples
POINTS = 10  # measures after the one before training: 11 in all, as published
PART = 256  # samples
COST = 0.03  # largest share of the training's samples that all measures together may see: 5 % of its time, by autograd


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
            found = self._gradients(network, layers, loss)
        ones = [1] * len(layers)
        egf = mean_norm(found, 1, ones), mean_norm(found, 2, ones)
        return GradientFlow(epoch, *egf, whole_norm(found, 1), whole_norm(found, 2))

    def _gradients(self, network: nn.Module, layers: Sequence[SparseLayer], loss: LossFunction) -> Sequence[Tensor]:
        """Of the mean loss: part by part, where samples do not depend on each other, which caches hold better."""
        samples = len(self.samples)
        whole = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
        sums = [torch.zeros_like(layer.parameter) for layer in layers]
        for part in torch.split(torch.arange(samples), samples if whole else PART):
            some = self.samples.at(part)
            found = gradients(layers, loss(network(some.x), some.y) * (len(part) / samples))
            for total, gradient in zip(sums, found, strict=True):
                total.add_(gradient)
        return sums


def probe(train: Samples, epochs: int, batch_size: int, generator: torch.Generator) -> Probe:
    """An eighth of `train`, at most 2,048 samples and 5 % of the training's time, but no less than one batch."""
    measured = measured_epochs(epochs)
    affordable = int(COST * len(train) * epochs / len(measured))
    size = min(max(min(LARGEST, len(train) // 8, affordable), batch_size), len(train))
    return Probe(train.at(torch.randperm(len(train), generator=generator)[:size].sort().values), measured)


def measured_epochs(epochs: int) -> frozenset[int]:
    """0, `epochs` and nine evenly between, to the nearest epoch; all of them, where there are fewer than ten."""
    if epochs < POINTS:
        return frozenset(range(epochs + 1))
    return frozenset((2 * point * epochs + POINTS) // (2 * POINTS) for point in range(POINTS + 1))
