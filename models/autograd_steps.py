"""Training by autograd: optimizer steps for any network."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.averaging import average
from models.data.samples import Samples
from models.dense_gradient import DenseGradient, watching
from models.layers import SparseLayer
from models.losses import LossFunction

Prepare = Callable[[Tensor], Tensor]
"""What is done to a batch of inputs before the network sees it."""


class AutogradSteps:
    """The optimizer steps of one network over one set of samples."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: LossFunction,
        samples: Samples,
        prepare: Prepare,
        averages: bool = False,
        clip: float | None = None,
    ) -> None:
        """averages: whether the weights after each step are averaged; clip: the largest norm of a step's gradient."""
        self._network, self._optimizer, self._loss = network, optimizer, loss
        self._samples, self._prepare, self._averages = samples, prepare, averages
        self._parameters, self._clip = list(network.parameters()), clip

    def __call__(self, batches: Sequence[Tensor], rates: Sequence[float]) -> Tensor:
        """float64 [steps]: the mean loss of each batch, before the step that learns from it.

        batches  int64 [...]  samples of each step;  rates  its learning rate
        """
        return torch.stack([self._step(batch, rate) for batch, rate in zip(batches, rates, strict=True)]).double()

    def observed(
        self, batch: Tensor, rate: float, layers: Sequence[SparseLayer], learns: bool
    ) -> tuple[Tensor, list[DenseGradient]]:
        """One step: float64 [1], the loss, and the gradients by the dense weights of these layers.

        learns  whether the optimizer takes the step, or only forward and backward are gone through
        """
        with watching(layers) as gradients:
            loss = self._step(batch, rate, learns)
        return loss.double().unsqueeze(0), gradients

    def _step(self, batch: Tensor, rate: float, learns: bool = True) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        samples = self._samples.at(batch)
        loss = self._loss(self._network(self._prepare(samples.x)), samples.y)
        for parameter in self._parameters:
            parameter.grad = None  # what optimizer.zero_grad does, without its bookkeeping at every step
        loss.backward()  # type: ignore[no-untyped-call]
        if learns:
            if self._clip is not None:  # what is absent has a gradient of 0, and no part in the norm
                nn.utils.clip_grad_norm_(self._parameters, self._clip)
            self._optimizer.step()
            if self._averages:
                average(self._optimizer)
        return loss.detach()
