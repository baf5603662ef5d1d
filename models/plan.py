"""What decides a training, and what it says of itself: values that travel, without the network in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.networks import AnyNetwork
from models.recipe import Training
from models.rewiring import AnyRewiring
from models.topologies import AnyTopology

Evaluate = Literal["every_epoch", "end", "never"]


class Diverged(ArithmeticError):
    """The loss is no longer a finite number. Names the epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch

    def __str__(self) -> str:
        return f"the loss is not finite in epoch {self.epoch}; a lower learning rate may help"


@dataclass(frozen=True)
class Plan:
    """All that decides a training, the data apart.

    counts    connections of each layer, as in `network.layers()`, at the end of the training
    evaluate  on the held-out samples, after every epoch, or only after the last (a test split is touched once), or not
    """

    network: AnyNetwork
    counts: tuple[int, ...]
    topology: AnyTopology
    rewiring: AnyRewiring
    training: Training
    seed: int
    evaluate: Evaluate = "every_epoch"


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to. All but `train_loss` is measured at its end, after any rewiring.

    epoch       from 1
    train_loss  mean over the epoch's samples, each before the step that learns from it
    loss, accuracy, balanced_accuracy  on the held-out samples; shares in [0, 1]; None where not evaluated
    nnz         active connections of each layer, counted from the live layers
    churn       connections grown during the epoch, as a share of those asked
    explored    connections that have been active at some time so far, as a share of all weights
    egf_1, egf_2  effective gradient flow on the probe; None at epochs that do not measure it
    lr          learning rate of the epoch's last step
    seconds     wall time, everything included
    averaged    whether steps of this epoch were averaged: what is evaluated is then the averages
    """

    epoch: int
    train_loss: float
    loss: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    nnz: tuple[int, ...]
    churn: float
    explored: float
    egf_1: float | None
    egf_2: float | None
    lr: float
    seconds: float
    averaged: bool = False


@dataclass(frozen=True, eq=False)
class Stretch:
    """Optimizer steps that follow each other: nothing looks at the network, or changes it, before the last is done.

    batches  int64 [...] each  samples of each step
    rates    its learning rate
    """

    batches: Sequence[Tensor]
    rates: Sequence[float]
