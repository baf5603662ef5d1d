"""Losses: the mean over samples, from a network's outputs before any softmax or sigmoid."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from models.recipe import Loss

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(outputs [n, classes], labels int64 [n]) -> scalar; of a text outputs [n, classes, steps], labels [n, steps]"""


def loss_function(name: Loss, classes: int) -> LossFunction:
    """`cross_entropy`, or `mse`: half the squared error of sigmoid outputs against one-hot labels, summed over classes.

    The half and the sum make the output's error (sigmoid - label) times the sigmoid's slope: the SET papers' setting.
    """
    if name == "cross_entropy":
        return F.cross_entropy

    def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
        one_hot = labels.unsqueeze(1) == torch.arange(classes, device=labels.device)
        return F.mse_loss(outputs.sigmoid(), one_hot.to(outputs), reduction="sum") / (2 * len(labels))

    return squared_error
