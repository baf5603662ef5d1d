"""Dense, randomly pruned and lottery-ticket perceptrons on MNIST-1D, 40-500-500-10, in the regime of its notebook.

Adam 2e-2, batches of 100, 38 epochs (1,520 steps; the notebook takes 1,501), every layer pruned alike, the last
accuracy on the 1,000 test samples. Not as there: no residual connection, batches shuffled, biases not pruned, the data
generated anew from the description. A ticket is found by one training, without rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import matplotlib

from benchmarks.jobs import keep
from benchmarks.resumed import Row, arguments, rows_of, shown
from models.data import MNIST1D
from models.data.samples import Split, final_split
from models.networks import MLP
from models.optimizers import Adam
from models.recipe import Training
from models.retraining import Retrained, Retraining, start_retraining
from models.rewiring import OneShot, Static
from models.schedules import Constant
from models.topologies import Random
from models.training import Run, start

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "mnist1d_tickets"
SEEDS = range(5)
NETWORK = MLP(widths=(500, 500))
TRAINING = Training(epochs=38, batch_size=100, optimizer=Adam(lr=0.02), schedule=Constant())
RETRAININGS = {
    "ticket": Retraining(weights="rewind"),
    "fresh weights": Retraining(weights="fresh"),
}
ARMS = (
    ("dense", 0.0),
    ("random", 0.76),
    ("random", 0.9),
    ("ticket", 0.76),
    ("ticket", 0.9),
    ("fresh weights", 0.9),
)
COLOURS = {"random": "#7f7f7f", "ticket": "#d1495b", "fresh weights": "#4878a8"}


@dataclass(frozen=True)
class Case:
    arm: str
    sparsity: float
    seed: int


def cases() -> list[Case]:
    return [Case(arm, sparsity, seed) for seed in SEEDS for arm, sparsity in ARMS]


@cache
def split() -> Split:
    return final_split(MNIST1D().load(None, seed=0))


def measure(data_dir: Path | None, case: Case) -> Row:
    del data_dir
    layers = NETWORK.layers(split().input_shape, split().classes)
    counts = [round((1 - case.sparsity) * layer.total) for layer in layers]
    retraining = RETRAININGS.get(case.arm)
    run: Run | Retrained
    if retraining is None:
        run = start(NETWORK, counts, Random(), Static(), TRAINING, split(), case.seed, evaluate="end")
    else:
        finding = OneShot(at=1.0)
        run = start_retraining(
            retraining, NETWORK, counts, Random(), finding, TRAINING, split(), case.seed, evaluate="end"
        )
    reports = list(run.train())
    last = reports[-1]
    return {"accuracy": last.accuracy, "nnz": last.nnz, "weights": sum(last.nnz), "epochs": len(reports)}


def main() -> None:
    rows = rows_of(NAME, cases(), measure, arguments(__doc__))
    dense = average(rows, "dense", 0.0)
    gains = {f"{arm} {sparsity}": average(rows, arm, sparsity) - dense for arm, sparsity in ARMS}
    for arm, sparsity in ARMS:
        found = of(rows, arm, sparsity)
        cells = [f"{found[0]['weights']:,}", str(found[0]["epochs"]), shown([row["accuracy"] for row in found])]
        print(f"| {arm} | {sparsity:.0%} | {' | '.join(cells)} | {gains[f'{arm} {sparsity}']:+.1f} |")
    keep(NAME, {"rows": rows, "gains": gains})
    draw(rows)


def of(rows: Sequence[Row], arm: str, sparsity: float) -> list[Row]:
    return [row for row in rows if (row["arm"], row["sparsity"]) == (arm, sparsity)]


def average(rows: Sequence[Row], arm: str, sparsity: float) -> float:
    return 100 * float(mean(row["accuracy"] for row in of(rows, arm, sparsity)))


def draw(rows: Sequence[Row]) -> None:
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    dense = [100 * row["accuracy"] for row in of(rows, "dense", 0.0)]
    axis.axhspan(mean(dense) - stdev(dense), mean(dense) + stdev(dense), color="black", alpha=0.08, linewidth=0)
    axis.axhline(mean(dense), color="black", linewidth=0.8, linestyle=":", label="dense")
    places = {0.76: 0.0, 0.9: 1.0}
    for number, (arm, colour) in enumerate(COLOURS.items()):
        points = [(places[sparsity], of(rows, arm, sparsity)) for each, sparsity in ARMS if each == arm]
        at = [place + 0.16 * (number - 1) for place, _ in points]
        found = [[100 * row["accuracy"] for row in each] for _, each in points]
        middle, spread = [mean(each) for each in found], [stdev(each) for each in found]
        axis.errorbar(at, middle, spread, color=colour, marker="o", markersize=5, capsize=2, linestyle="", label=arm)
        for x, each in zip(at, found, strict=True):
            axis.scatter([x + 0.05] * len(each), each, color=colour, s=6, alpha=0.5)
    axis.set_xticks(list(places.values()), [f"{sparsity:.0%} sparse" for sparsity in places])
    axis.set(ylabel="test accuracy, %", xlim=(-0.5, 1.5))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, title="mean ± sd of 5 seeds", title_fontsize=8, loc="center right")
    figure.tight_layout()
    figure.savefig(f"docs/images/{NAME}.png", dpi=150)


if __name__ == "__main__":
    main()
