"""Whole trainings of convolutional networks at uniform density .1, compressed against masked storage.

Through the product's own run: augmentation off, SET after each epoch, evaluation and gradient flow included. Images are
random numbers: what is measured is time.
"""

import time
from functools import partial

import torch

from benchmarks.interleaved import pairs
from benchmarks.jobs import keep
from models.data.samples import Samples, Split
from models.networks import VGG, AnyNetwork, LeNet5
from models.recipe import Training
from models.rewiring import SET
from models.seeds import generator
from models.topologies import Random
from models.training import start
from models.types import StorageKind

DENSITY = 0.1
CASES: dict[str, tuple[AnyNetwork, tuple[int, int, int]]] = {
    "LeNet-5, 1x28x28": (LeNet5(), (1, 28, 28)),
    "VGG style 64-pool-128-pool, 3x16x16": (VGG(), (3, 16, 16)),
}
SAMPLES, HELD_OUT, EPOCHS = 1280, 256, 2


def seconds(network: AnyNetwork, shape: tuple[int, int, int], storage: StorageKind) -> float:
    draw = generator(0)
    x = torch.randn(SAMPLES + HELD_OUT, *shape, generator=draw)
    samples = Samples(x, torch.randint(10, (len(x),), generator=draw))
    split = Split(samples.at(torch.arange(SAMPLES)), samples.at(torch.arange(SAMPLES, len(x))), 10, shape)
    counts = [round(DENSITY * layer.total) for layer in network.layers(shape, 10)]
    training = Training(epochs=EPOCHS, batch_size=64, storage=storage)
    run = start(network, counts, Random(), SET(), training, split, seed=0)
    began = time.perf_counter()
    list(run.train())
    return time.perf_counter() - began


def main() -> None:
    rows = {}
    for name, (network, shape) in CASES.items():
        masked, compressed = pairs(
            partial(seconds, network, shape, "masked"), partial(seconds, network, shape, "compressed")
        )
        rows[name] = {"masked": masked, "compressed": compressed, "faster": masked / compressed}
        print(f"{name}: masked {masked:.2f} s, compressed {compressed:.2f} s ({masked / compressed:.1f}x)", flush=True)
    keep("trials", rows)


if __name__ == "__main__":
    main()
