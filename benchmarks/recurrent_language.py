"""Sparse language models on tiny Shakespeare, its first 300,000 characters (90/5/5 %), character by character.

An LSTM of 128 units, dense and at 33 % of its weights, the same steps for every arm: static, SET, and Selfish-RNN (SET
by magnitude, .8 falling along a cosine). Selfish-RNN also with 250 units, whose active weights are as many as the dense
network's. Each training is measured with and without averages (SNT-ASGD over the last epoch), which it does not notice.
It is a row of docs/results/recurrent_language.json and not done again; remove the file to measure anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import matplotlib

from benchmarks.jobs import keep
from benchmarks.recurrent_runs import begun, shown
from benchmarks.resumed import Row, arguments, rows_of
from models.allocation import uniform
from models.averaging import SNTASGD
from models.data import Text
from models.data.samples import search_split
from models.evaluation import evaluate
from models.networks import LanguageModel
from models.optimizers import Adam
from models.recipe import Training
from models.rewiring import SET, AnyRewiring, Static
from models.rewiring.drop import CosineDrop
from models.schedules import Constant

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "recurrent_language"
TEXT = Text(kind="text", name="tinyshakespeare/input.txt", steps=32, limit=300_000)
START = 0.875
RECIPE = Training(
    epochs=8,
    batch_size=32,
    optimizer=Adam(lr=0.004),
    schedule=Constant(),
    clip=1.0,
    averaging=SNTASGD(start=START),
)
MODEL = LanguageModel(embedding=64, units=(128,))
SELFISH = SET(fraction=0.8, removal="magnitude", drop=CosineDrop())
ARMS: dict[str, tuple[LanguageModel, float, AnyRewiring]] = {
    "dense": (MODEL, 1.0, Static()),
    "static": (MODEL, 0.33, Static()),
    "SET": (MODEL, 0.33, SET(fraction=0.3)),
    "Selfish-RNN": (MODEL, 0.33, SELFISH),
    "Selfish-RNN, 250 units": (replace(MODEL, units=(250,)), 0.33, SELFISH),
}
COLOURS = ("#555555", "#4878a8", "#d1495b", "#3a9d5d", "#8a5fbf")


@dataclass(frozen=True)
class Case:
    arm: str
    seed: int


def measure(data_dir: Path, case: Case) -> Row:
    """Validation perplexity of the weights as they are, of the averages, and after each epoch."""
    network, density, rewiring = ARMS[case.arm]
    split = search_split(TEXT.load(data_dir, 0), TEXT.validation, 0)
    run = begun(network, split, density, uniform, rewiring, RECIPE, case.seed)
    losses = [report.loss for report in run.train()]
    assert None not in losses, "every epoch is evaluated"
    curve = [math.exp(loss) for loss in losses if loss is not None]
    plain = evaluate(run.network, split.held_out, run.loss, split.classes).loss
    return {
        "weights": math.exp(plain),
        "averages": curve[-1],
        "curve": curve,
        "train": math.exp(run.reports[-1].train_loss),
        "nnz": run.reports[-1].nnz,
        "seconds": sum(report.seconds for report in run.reports),
    }


def main() -> None:
    cases = [Case(arm, seed) for seed in range(3) for arm in ARMS]
    rows = rows_of(NAME, cases, measure, arguments(__doc__))
    dense = min(mean(each[key] for each in of(rows, "dense")) for key in ("weights", "averages"))
    for arm in ARMS:
        mine = of(rows, arm)
        plain, averages = ([each[key] for each in mine] for key in ("weights", "averages"))
        beside = 100 * (min(mean(plain), mean(averages)) / dense - 1)
        print(f"{arm}, {sum(mine[0]['nnz']):,} weights: {shown(plain)}, averages {shown(averages)}, {beside:+.1f} %")
    keep(NAME, {"rows": rows})
    draw(rows)


def of(rows: Sequence[Row], arm: str) -> list[Row]:
    return [row for row in rows if row["arm"] == arm]


def draw(rows: Sequence[Row]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for arm, colour in zip(ARMS, COLOURS, strict=True):
        middle = [mean(values) for values in zip(*(row["curve"] for row in of(rows, arm)), strict=True)]
        axis.plot(range(1, len(middle) + 1), middle, color=colour, label=arm, marker="o", markersize=3)
    axis.axvline(START * RECIPE.epochs + 0.5, color="#bbbbbb", linewidth=1, linestyle=":")
    axis.set(xlabel="epoch (averages from the dotted line on)", ylabel="validation perplexity", ylim=(4, 10))
    axis.set_xticks(range(1, RECIPE.epochs + 1))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(
        frameon=False,
        loc="upper right",
        bbox_to_anchor=(0.87, 1.0),
        title=f"mean of {len(of(rows, 'dense'))} seeds",
        title_fontsize=8,
    )
    figure.tight_layout()
    figure.savefig("docs/images/recurrent.png", dpi=150)


if __name__ == "__main__":
    main()
