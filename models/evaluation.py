"""How well a network does on samples it does not learn from."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data.samples import Samples
from models.losses import LossFunction

BATCH = 256  # samples at a time: large enough to hide call overhead, small enough for a CPU's cache


@dataclass(frozen=True)
class Evaluation:
    """loss: mean over samples; accuracy: share of samples whose highest output is their class, in [0, 1];
    balanced_accuracy: mean over the classes present of the share that is right."""

    loss: float
    accuracy: float
    balanced_accuracy: float


@torch.inference_mode()
def evaluate(network: nn.Module, samples: Samples, loss: LossFunction, classes: int) -> Evaluation:
    """Dropout off, batch norm by its running statistics; `network` is left in evaluation mode."""
    network.eval()
    batches = list(zip(torch.split(samples.x, BATCH), torch.split(samples.y, BATCH), strict=True))
    outputs = [(network(x), y) for x, y in batches]
    total = sum(loss(output, y).item() * len(y) for output, y in outputs)
    right = torch.cat([output.argmax(dim=1) == y for output, y in outputs])
    return Evaluation(total / len(samples), right.double().mean().item(), _balanced(right, samples.y, classes))


def _balanced(right: Tensor, y: Tensor, classes: int) -> float:
    present = torch.bincount(y, minlength=classes)
    hits = torch.bincount(y, weights=right.double(), minlength=classes)
    return (hits[present > 0] / present[present > 0]).mean().item()
