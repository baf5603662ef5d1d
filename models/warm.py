"""Compiles every kernel that trainings in single precision use, or loads it where it has been compiled before."""

import torch

from models.data.samples import Samples, Split
from models.networks import MLP, VGG, AnyNetwork
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
    VGG(channels=(4, "pool"), stride=1, dropout=0.5),
)


def compile_kernels() -> None:
    draw = generator(0)
    x = torch.randn(12, *IMAGE, generator=draw)
    samples = Samples(x, torch.arange(12) % CLASSES)
    for network in NETWORKS:
        counts = [-(-layer.total // 3) for layer in network.layers(IMAGE, CLASSES)]
        for optimizer in (SGD(), Adam()):
            training = Training(epochs=2, batch_size=4, optimizer=optimizer, storage="compressed")
            split = Split(samples, samples, CLASSES, IMAGE)
            list(start(network, counts, Random(), SET(), training, split, seed=0).train())
