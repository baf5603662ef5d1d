"""A problem that a small network learns in a moment, and runs on it."""

from dataclasses import replace
from typing import Any

import torch

from models.data.samples import Samples, Split
from models.networks import MLP, AnyNetwork
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import SET
from models.topologies import Random
from models.training import Run, start
from models.types import Storage

IMAGE = (2, 8, 8)


def classes_in_space(
    input_shape: tuple[int, ...] = (12,), classes: int = 3, train: int = 90, held_out: int = 45, noise: float = 0.6
) -> Split:
    """Each class is a point with Gaussian noise around it."""
    draw = torch.Generator().manual_seed(7)
    points = torch.randn(classes, *input_shape, generator=draw)
    y = torch.randint(classes, (train + held_out,), generator=draw)
    x = points[y] + noise * torch.randn(len(y), *input_shape, generator=draw)
    return Split(Samples(x[:train], y[:train]), Samples(x[train:], y[train:]), classes, input_shape)


def begin(
    network: AnyNetwork | None = None,
    split: Split | None = None,
    density: float = 0.4,
    rewiring: Any = None,
    seed: int = 1,
    training: Training | None = None,
    storage: Storage = "auto",
    **options: Any,
) -> Run:
    network = network or MLP(widths=(16, 10))
    split = split or classes_in_space()
    counts = [round(density * layer.total) for layer in network.layers(split.input_shape, split.classes)]
    training = training or Training(epochs=4, batch_size=16, optimizer=SGD(lr=0.1))
    training = replace(training, storage=storage)
    return start(network, counts, Random(), rewiring or SET(), training, split, seed, **options)


def measured(run: Run) -> list[tuple[Any, ...]]:
    """The reports of a run, wall time apart."""
    measures = ("train_loss", "loss", "accuracy", "balanced_accuracy", "nnz", "churn", "explored", "egf_1", "egf_2")
    fields = ("epoch", *measures, "lr")
    return [tuple(getattr(report, field) for field in fields) for report in run.reports]


def same_state(one: Run, other: Run) -> bool:
    """Weights, connections, statistics and optimizer state, equal bit for bit."""
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    memories = [list(run.optimizer.state_dict()["state"].items()) for run in (one, other)]
    return (
        list(ours) == list(theirs)
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
        and len(memories[0]) == len(memories[1])
        and all(
            number == number_too
            and list(memory) == list(memory_too)
            and all(torch.equal(memory[name], memory_too[name]) for name in memory)
            for (number, memory), (number_too, memory_too) in zip(*memories, strict=True)
        )
    )
