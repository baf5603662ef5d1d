"""As many connections in wider networks: 784-300w-100-10 with a tenth of the weights of LeNet-300-100, or all of them.

The first hidden layer is w times as wide and each layer's density is 1/w of what it was, as Alford et al. 2018
("Training Sparse Neural Networks") and the authors of RadiX-Net have it; the output layer stays dense. The 266,200
connections of dense LeNet-300-100 (w = 1, see `lenet_methods`) are given to ten times the width. The recipe is that of
`lenet`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib

from benchmarks.jobs import keep
from benchmarks.lenet import Contender, measured, split_in
from benchmarks.lenet_methods import REWIRINGS
from benchmarks.resumed import Row, arguments, rows_of, shown
from models.networks import MLP
from models.topologies import AnyTopology, Expander, RadixNet, Random

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "lenet_widths"
WIDTHS = (1, 2, 10)
SEEDS = range(3)
BUDGETS = {"as dense": (235_200, 30_000, 1_000), "a tenth": (23_520, 3_000, 1_000)}
TOPOLOGIES: dict[tuple[str, str], AnyTopology] = {
    ("RadiX-Net", "as dense"): RadixNet(widths=(8, 30, 1)),
    ("expander", "a tenth"): Expander(degrees=(30, 30)),
}


@dataclass(frozen=True)
class Case:
    arm: str
    budget: str
    width: int
    seed: int


def cases() -> list[Case]:
    found = [Case(arm, "a tenth", width, seed) for seed in SEEDS for width in WIDTHS for arm in ("static", "SET")]
    found += [Case("expander", "a tenth", 10, seed) for seed in SEEDS]
    return found + [Case(arm, "as dense", 10, seed) for seed in SEEDS for arm in ("static", "RadiX-Net")]


def measure(data_dir: Path, case: Case) -> Row:
    network = MLP(widths=(300 * case.width, 100), keep_dense=("output",))
    topology = TOPOLOGIES.get((case.arm, case.budget), Random())
    rewiring = REWIRINGS["SET" if case.arm == "SET" else "static"]
    return measured(Contender(network, BUDGETS[case.budget], rewiring, topology), split_in(data_dir), case.seed)


def main() -> None:
    rows = rows_of(NAME, cases(), measure, arguments(__doc__))
    for case in [case for case in cases() if case.seed == SEEDS[0]]:
        found = accuracies(rows, case.arm, case.budget, case.width)
        weights = f"{sum(BUDGETS[case.budget]):,}"
        print(f"| 784-{300 * case.width}-100-10 | {case.arm} | {weights} | {shown(found)} |")
    keep(NAME, {"rows": rows})
    draw(rows)


def accuracies(rows: Sequence[Row], arm: str, budget: str, width: int) -> list[float]:
    wanted = (arm, budget, width)
    return [row["accuracy"] for row in rows if (row["arm"], row["budget"], row["width"]) == wanted]


def draw(rows: Sequence[Row]) -> None:
    figure, axis = plt.subplots(figsize=(6.4, 3.8))
    for arm, colour in (("static", "#7f7f7f"), ("SET", "#4878a8")):
        points: list[tuple[float, list[float]]] = [(width, accuracies(rows, arm, "a tenth", width)) for width in WIDTHS]
        mark(axis, points, f"{arm}, 27,520", color=colour, marker="o", markersize=4)
    for (arm, budget), marker, place in zip(TOPOLOGIES, "s^", (10.0, 10.6), strict=True):
        label = f"{arm}, {sum(BUDGETS[budget]):,}"
        points = [(place, accuracies(rows, arm, budget, 10))]
        mark(axis, points, label, color="#d1495b", linestyle="", marker=marker, markersize=5)
    points = [(9.4, accuracies(rows, "static", "as dense", 10))]
    mark(axis, points, "static, 266,200", color="#7f7f7f", linestyle="", marker="s", markersize=5)
    axis.set_xscale("log")
    axis.set_xticks(WIDTHS, [f"{width}x" for width in WIDTHS])
    axis.minorticks_off()
    axis.set(xlabel="width of the first hidden layer, as a multiple of 300", ylabel="test accuracy, %")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, title="connections; mean ± sd of 3 seeds", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(f"docs/images/{NAME}.png", dpi=150)


def mark(axis: Any, points: Sequence[tuple[float, Sequence[float]]], label: str, **look: Any) -> None:
    places = [place for place, _ in points]
    middle, spread = [100 * mean(found) for _, found in points], [100 * stdev(found) for _, found in points]
    axis.errorbar(places, middle, spread, label=label, capsize=2, **look)


if __name__ == "__main__":
    main()
