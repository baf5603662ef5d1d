"""One recipe for all: LeNet-300-100 on all of Fashion-MNIST, 15 epochs, SGD momentum .9, lr .05 falling along a cosine.

Rewirings are due every 100 steps until 75 % of the training, and drop by magnitude a share that falls from .3 along a
cosine. Layers share the connections out by Erdős–Rényi (ERK), weight decay is 1e-4 of the active weights.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.training_cost import train_counted
from models.allocation import erdos_renyi_kernel, whole_counts
from models.data import Files
from models.data.samples import Split, final_split
from models.networks import AnyNetwork
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import AnyRewiring
from models.topologies import AnyTopology, Random
from models.training import start

OPTIMIZER = SGD(lr=0.05, momentum=0.9, weight_decay=1e-4)
TRAINING = Training(epochs=15, batch_size=128, optimizer=OPTIMIZER)
RANDOM = Random()


@dataclass(frozen=True)
class Contender:
    """What is trained: a network, where its connections start and how they move, and the weights' decay."""

    network: AnyNetwork
    counts: tuple[int, ...]
    rewiring: AnyRewiring
    topology: AnyTopology = RANDOM
    weight_decay: float = OPTIMIZER.weight_decay


@cache
def split_in(data_dir: Path) -> Split:
    return final_split(Files(kind="files", name="fashion-mnist").load(data_dir, seed=0))


def erk(network: AnyNetwork, split: Split, density: float) -> tuple[int, ...]:
    """Connections of each layer, `density` of the weights in all."""
    layers = network.layers(split.input_shape, split.classes)
    totals = [layer.total for layer in layers]
    targets = [share * total for share, total in zip(erdos_renyi_kernel(layers, density), totals, strict=True)]
    return whole_counts(targets, totals, round(density * sum(totals)))


def measured(contender: Contender, split: Split, seed: int) -> dict[str, Any]:
    """Test accuracy after the last epoch, connections counted in the live network, and what the training multiplied."""
    optimizer = replace(OPTIMIZER, weight_decay=contender.weight_decay)
    training = replace(TRAINING, optimizer=optimizer)
    run = start(
        contender.network,
        contender.counts,
        contender.topology,
        contender.rewiring,
        training,
        split,
        seed,
        evaluate="end",
    )
    cost = train_counted(run)
    last = run.reports[-1]
    return {
        "accuracy": last.accuracy,
        "nnz": last.nnz,
        "weights": sum(last.nnz),
        "cost": cost,
        "explored": last.explored,
        "seconds": sum(report.seconds for report in run.reports),
    }
