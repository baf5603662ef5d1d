"""How far apart SET's topologies end that began as one: same first weights and connections, other rewiring and data.

784-300-100-10 on 10,000 Fashion-MNIST images, a twentieth of the weights, 40 epochs, batch 100, SGD lr .05 momentum .9,
rewired after each epoch (ζ = .3, what grows from N(0, .1²)). Five pairs. The distance is NNSTD (Liu et al. 2020, arXiv
2006.14085); two random topologies with as many connections in each layer show how far apart chance alone puts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib

from benchmarks.lenet import erk
from benchmarks.resumed import Row, arguments, rows_of
from models.connections import Connections, random_connections
from models.data import Files
from models.data.samples import Split, final_split
from models.networks import LeNet300100
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import SET
from models.schedules import Constant
from models.seeds import generator
from models.topologies import Random
from models.topology_distance import nnstd
from models.training import Run, start

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "topologies_apart"
SEEDS = range(5)
NETWORK = LeNet300100()
DENSITY = 0.05
OPTIMIZER = SGD(lr=0.05, momentum=0.9, weight_decay=1e-4)
TRAINING = Training(epochs=40, batch_size=100, optimizer=OPTIMIZER, schedule=Constant())
EPOCHS = (0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 25, 30, 35, 40)  # those of which distances are measured


@dataclass(frozen=True)
class Case:
    """seed: of the first weights and connections that both runs have."""

    seed: int


@cache
def split_in(data_dir: Path) -> Split:
    return final_split(Files(kind="files", name="fashion-mnist", limit=10_000).load(data_dir, seed=0))


def measure(data_dir: Path, case: Case) -> Row:
    """Distances of each layer at `EPOCHS`, accuracies of both runs after every epoch."""
    split = split_in(data_dir)
    counts = erk(NETWORK, split, DENSITY)
    pair = [
        start(NETWORK, counts, Random(), SET(fraction=0.3, grown="normal"), TRAINING, split, case.seed)
        for _ in range(2)
    ]
    for number, run in enumerate(pair):
        for name in ("order", "rewiring"):
            run.streams[name] = generator(case.seed, "apart", name, number)
    layers = [distances(*pair)]
    accuracies = []
    for reports in zip(*(run.train() for run in pair), strict=True):
        accuracies.append([report.accuracy for report in reports])
        if reports[0].epoch in EPOCHS:
            layers.append(distances(*pair))
    shapes = [each.shape for each in connections(pair[0])]
    one, other = (
        [random_connections(shape, count, stream) for shape, count in zip(shapes, counts, strict=True)]
        for stream in (generator(case.seed, "chance", number) for number in range(2))
    )
    return {"layers": layers, "accuracies": accuracies, "chance": nnstd(one, other).layers}


def distances(one: Run, other: Run) -> tuple[float, ...]:
    """Of each layer."""
    return nnstd(connections(one), connections(other)).layers


def connections(run: Run) -> list[Connections]:
    return [layer.connections for layer in run.layers.values()]


def main() -> None:
    rows = rows_of(NAME, [Case(seed) for seed in SEEDS], measure, arguments(__doc__))
    for place, epoch in enumerate(EPOCHS):
        found = [mean(row["layers"][place]) for row in rows]
        accuracy = f"{100 * mean(at(rows, epoch)):.2f} ± {100 * stdev(at(rows, epoch)):.2f} %" if epoch else ""
        print(f"epoch {epoch:2d}: {mean(found):.3f} ± {stdev(found):.3f}  {accuracy}")
    by_chance = [mean(row["chance"]) for row in rows]
    between = [100 * abs(first - second) for first, second in (row["accuracies"][-1] for row in rows)]
    print(f"by chance {mean(by_chance):.3f} ± {stdev(by_chance):.3f}; accuracies of a pair {mean(between):.2f} apart")
    draw(rows)


def at(rows: Sequence[Row], epoch: int) -> list[float]:
    """Accuracies of all runs after an epoch, counted from 1."""
    return [accuracy for row in rows for accuracy in row["accuracies"][epoch - 1]]


def draw(rows: Sequence[Row]) -> None:
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 5.2), sharex=True, height_ratios=(3, 2))
    for layer, (name, colour) in enumerate((("fc1", "#4878a8"), ("fc2", "#8cb369"), ("output", "#e09f3e"))):
        apart = [mean(row["layers"][place][layer] for row in rows) for place in range(len(EPOCHS))]
        above.plot(EPOCHS, apart, color=colour, linewidth=1, label=name)
    found = [[mean(row["layers"][place]) for row in rows] for place in range(len(EPOCHS))]
    banded(above, EPOCHS, found, "#d1495b", "mean of the layers (NNSTD)")
    by_chance = mean(mean(row["chance"]) for row in rows)
    above.axhline(by_chance, color="black", linewidth=0.8, linestyle=":", label="NNSTD of two random topologies")
    above.set(ylabel="topology distance", ylim=(0, 1))
    above.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 0.15))
    epochs = range(1, TRAINING.epochs + 1)
    accuracies = [[100 * each for each in at(rows, epoch)] for epoch in epochs]
    banded(below, epochs, accuracies, "#7f7f7f", "mean ± sd of ten runs")
    below.set(xlabel="epoch", ylabel="test accuracy, %")
    below.legend(frameon=False, fontsize=8, loc="lower right")
    for axis in (above, below):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(f"docs/images/{NAME}.png", dpi=150)


def banded(axis: Any, x: Sequence[int], found: Sequence[Sequence[float]], colour: str, label: str) -> None:
    middle, spread = [mean(each) for each in found], [stdev(each) for each in found]
    low = [m - s for m, s in zip(middle, spread, strict=True)]
    high = [m + s for m, s in zip(middle, spread, strict=True)]
    axis.plot(x, middle, color=colour, label=label)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


if __name__ == "__main__":
    main()
