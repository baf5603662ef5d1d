"""How well a network does on samples it does not learn from."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.data.samples import Samples
from models.losses import LossFunction
from models.streams import carrying, in_streams

BATCH = 256  # samples at a time: large enough to hide call overhead, small enough for a CPU's cache
STREAMS = 10  # of a text: few, as each begins without knowing what was before (AWD-LSTM's number)


@dataclass(frozen=True)
class Evaluation:
    """Of a text each character is a sample.

    loss: mean over samples; accuracy: share of samples whose highest output is their class, in [0, 1];
    balanced_accuracy: mean over the classes present of the share that is right.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float


@torch.inference_mode()
def evaluate(network: nn.Module, samples: Samples, loss: LossFunction, classes: int) -> Evaluation:
    """Dropout off, batch norm by its running statistics; `network` is left in evaluation mode."""
    network.eval()
    total, right, labels = 0.0, [], []
    with carrying(network):
        for x, y in _batches(samples):
            output = network(x)
            total += loss(output, y).item() * len(y)
            right.append((output.argmax(dim=1) == y).flatten())
            labels.append(y.flatten())
    hits = torch.cat(right)
    return Evaluation(total / len(samples), hits.double().mean().item(), _balanced(hits, torch.cat(labels), classes))


def _batches(samples: Samples) -> Iterator[tuple[Tensor, Tensor]]:
    if not samples.in_order:
        yield from zip(torch.split(samples.x, BATCH), torch.split(samples.y, BATCH), strict=True)
        return
    for windows in in_streams(len(samples), min(STREAMS, len(samples))):
        batch = samples.at(windows)
        yield batch.x, batch.y


def _balanced(right: Tensor, y: Tensor, classes: int) -> float:
    present = torch.bincount(y, minlength=classes)
    hits = torch.bincount(y, weights=right.double(), minlength=classes)
    return (hits[present > 0] / present[present > 0]).mean().item()
