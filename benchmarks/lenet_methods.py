"""Ten ways to a sparse LeNet-300-100 at 10, 5, 2 and 1 % of its weights, and the dense one beside them.

The recipe is that of `lenet`, the same for all. One-shot prunes after half of the training, gradual pruning between
10 % and 75 % of it; both compare magnitudes over the whole network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import matplotlib

from benchmarks.jobs import keep
from benchmarks.lenet import Contender, erk, measured, split_in
from benchmarks.resumed import Row, arguments, rows_of, shown
from models.data.samples import Split
from models.networks import LeNet300100
from models.rewiring import DSR, SET, AnyRewiring, Gradual, OneShot, RigL, SparseMomentum, Static
from models.rewiring.drop import CosineDrop
from models.topologies import Expander, RadixNet, Random

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "lenet_methods"
DENSITIES = (0.1, 0.05, 0.02, 0.01)
SEEDS = range(3)
NETWORK = LeNet300100()
EVERY, UNTIL = 100, 0.75
REWIRINGS: dict[str, AnyRewiring] = {
    "static": Static(),
    "SET": SET(fraction=0.3, removal="magnitude", drop=CosineDrop(), every=EVERY, until=UNTIL),
    "RigL": RigL(fraction=0.3, every=EVERY, until=UNTIL),
    "DSR": DSR(fraction=0.1, every=EVERY, until=UNTIL),
    "sparse momentum": SparseMomentum(fraction=0.3, every=EVERY, until=UNTIL),
    "one-shot": OneShot(at=0.5, scope="global"),
    "gradual": Gradual(begin=0.1, end=0.75, every=100, scope="global"),
}
# The authors' networks keep the output layer dense; `random links` has as many connections in each layer as RadiX-Net.
TOPOLOGIES: dict[str, RadixNet | Expander | Random] = {
    "RadiX-Net": RadixNet(),
    "expander": Expander(degrees=(78, 30)),
    "random links": Random(),
}
DENSE = {"dense": 1e-4, "dense, decay 5e-4": 5e-4}
COLOURS = ("#7f7f7f", "#4878a8", "#8cb369", "#e09f3e", "#9a6fb0", "#c98b8b", "#d1495b")


@dataclass(frozen=True)
class Case:
    arm: str
    density: float
    seed: int


def cases() -> list[Case]:
    found = []
    for seed in SEEDS:
        found += [Case(arm, density, seed) for density in DENSITIES for arm in REWIRINGS]
        found += [Case(arm, 0.1, seed) for arm in TOPOLOGIES] + [Case(arm, 1.0, seed) for arm in DENSE]
    return found


def contender(case: Case, split: Split) -> Contender:
    if case.arm in REWIRINGS:
        return Contender(NETWORK, erk(NETWORK, split, case.density), REWIRINGS[case.arm])
    if case.arm in DENSE:
        return Contender(NETWORK, erk(NETWORK, split, 1.0), Static(), weight_decay=DENSE[case.arm])
    network = LeNet300100(keep_dense=("output",))
    hidden = network.layers(split.input_shape, split.classes)[:2]
    topology = TOPOLOGIES[case.arm]
    dictating = RadixNet() if isinstance(topology, Random) else topology
    return Contender(network, (*dictating.counts(hidden, None), 1000), Static(), topology)


def measure(data_dir: Path, case: Case) -> Row:
    split = split_in(data_dir)
    return measured(contender(case, split), split, case.seed)


def main() -> None:
    options = arguments(__doc__)
    rows = rows_of(NAME, cases(), measure, options)
    print(table(rows))
    gains = {density: gain(rows, density) for density in DENSITIES}
    for density, (points, spread) in gains.items():
        print(f"{density:.0%}: the worst of SET, RigL, DSR and sparse momentum is {points:+.2f} points from static")
        print(f"     the seeds' spread, the larger of the two sd, is {spread:.2f}")
    below = 100 * (mean(accuracies(rows, "dense, decay 5e-4", 1.0)) - mean(accuracies(rows, "gradual", 0.05)))
    print(f"gradual pruning at 5 % is {below:.2f} points below dense")
    keep(NAME, {"rows": rows, "gains": gains, "gradual_below_dense": below})
    draw(rows)


def accuracies(rows: Sequence[Row], arm: str, density: float) -> list[float]:
    return [row["accuracy"] for row in rows if (row["arm"], row["density"]) == (arm, density)]


def gain(rows: Sequence[Row], density: float) -> tuple[float, float]:
    """Points of the worst dynamic method above static, and the larger sd of the two."""
    moving = [accuracies(rows, arm, density) for arm in ("SET", "RigL", "DSR", "sparse momentum")]
    worst, static = min(moving, key=mean), accuracies(rows, "static", density)
    return 100 * (mean(worst) - mean(static)), 100 * max(stdev(worst), stdev(static))


def table(rows: Sequence[Row]) -> str:
    """Markdown: an arm a line, accuracy and cost at each density; then those of one density."""
    lines = [
        "| arm | " + " | ".join(f"{density:.0%}" for density in DENSITIES) + " |",
        "|---|" + "---|" * len(DENSITIES),
    ]
    for arm in REWIRINGS:
        cells = [f"{shown(accuracies(rows, arm, density))} ({cost(rows, arm, density):.2f})" for density in DENSITIES]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    for arm, density in [(arm, 0.1) for arm in TOPOLOGIES] + [(arm, 1.0) for arm in DENSE]:
        weights = next(row["weights"] for row in rows if row["arm"] == arm)
        lines.append(
            f"| {arm} | {shown(accuracies(rows, arm, density))} ({cost(rows, arm, density):.2f}), {weights:,} |"
        )
    return "\n".join(lines)


def cost(rows: Sequence[Row], arm: str, density: float) -> float:
    return float(mean(row["cost"] for row in rows if (row["arm"], row["density"]) == (arm, density)))


def draw(rows: Sequence[Row]) -> None:
    figure, axis = plt.subplots(figsize=(6.4, 4))
    shares = [100 * density for density in DENSITIES]
    for arm, colour in zip(REWIRINGS, COLOURS, strict=True):
        found = [accuracies(rows, arm, density) for density in DENSITIES]
        middle, spread = [100 * mean(each) for each in found], [100 * stdev(each) for each in found]
        axis.errorbar(shares, middle, spread, color=colour, label=arm, marker="o", markersize=3.5, capsize=2)
    dense = 100 * mean(accuracies(rows, "dense, decay 5e-4", 1.0))
    axis.axhline(dense, color="black", linewidth=0.8, linestyle=":", label="dense, decay 5e-4")
    axis.set_xscale("log")
    axis.set_xticks(shares, [f"{share:g}" for share in shares])
    axis.minorticks_off()
    axis.set(xlabel="active weights, % of 266,200", ylabel="test accuracy, %")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, title="mean ± sd of 3 seeds", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(f"docs/images/{NAME}.png", dpi=150)


if __name__ == "__main__":
    main()
