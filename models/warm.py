"""Every kernel that trainings in single precision use, compiled before the first of them begins."""

import subprocess
import sys

import numpy as np
import torch
from llvmlite import binding

from models.data.samples import Samples, Split
from models.kernels.compiled import cache_directory
from models.kernels.structure import Structure
from models.networks import GRU, LSTM, MLP, VGG, AnyNetwork
from models.optimizers import SGD, Adam
from models.recipe import Training
from models.rewiring import SET
from models.seeds import generator
from models.topologies import Random
from models.training import start

IMAGE = (2, 8, 8)
CLASSES = 3
NETWORKS: tuple[AnyNetwork, ...] = (
    MLP(widths=(6,), batch_norm=True, dropout=0.5),
    MLP(widths=(6,), activation="prelu", batch_norm=True),  # by autograd
    VGG(channels=(4, 4, "pool"), stride=1, dropout=0.5),  # the second convolution takes both gradients
    LSTM(units=(4,)),
    GRU(units=(4,)),
)


def load_kernels() -> None:
    """Loads them all, compiled by a process of its own where that has not been done on this kind of machine.

    In the process that compiled it a kernel may round differently than in those that load it, as parts of it have been
    optimised once more: which training came first must not show in its numbers.
    """
    complete = cache_directory() / f"complete-{binding.get_host_cpu_name()}"
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "models.warm"], check=True)
        complete.parent.mkdir(parents=True, exist_ok=True)
        complete.touch()
    compile_kernels()


def compile_kernels() -> None:
    """By use: a training of each kind of network."""
    draw = generator(0)
    x = torch.randn(12, *IMAGE, generator=draw)
    samples = Samples(x, torch.arange(12) % CLASSES)
    for network in NETWORKS:
        counts = [-(-layer.total // 3) for layer in network.layers(IMAGE, CLASSES)]
        for optimizer in (SGD(), Adam()):
            training = Training(epochs=2, batch_size=4, optimizer=optimizer, storage="compressed")
            split = Split(samples, samples, CLASSES, IMAGE)
            list(start(network, counts, Random(), SET(), training, split, seed=0).train())
    large = Structure.of(np.arange(64 * 512), (64, 512))  # networks so small need no order of their own
    order = large.by_rows(128, 4)
    assert order is not large.plain


if __name__ == "__main__":
    compile_kernels()
