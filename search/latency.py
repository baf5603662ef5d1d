"""How long a trained network takes for one batch, measured on the machine that trained it."""

import statistics
import time

import torch
from torch import Tensor, nn

WARM_UP = 3  # passes that fill caches and are not timed
REPEATS = 21  # timed passes; the median of an odd number is one of them


@torch.inference_mode()
def latency(network: nn.Module, batch: Tensor) -> float:
    """Seconds of one forward pass of `batch` [n, ...]: the median over REPEATS, dropout off.

    Noisy: it depends on the machine, on what else runs there, and on the storage of each layer. `network` is left in
    evaluation mode.
    """
    network.eval()
    for _ in range(WARM_UP):
        network(batch)
    return statistics.median(_seconds(network, batch) for _ in range(REPEATS))


def _seconds(network: nn.Module, batch: Tensor) -> float:
    started = time.perf_counter()
    network(batch)
    return time.perf_counter() - started
