"""Early stopping judged at equal trials: halving by held-out loss, by gradient flow, and none, over the same searches.

The small CNN of `density_search` at 5 %, nothing stopped, several job seeds. Each rule is then replayed over the
curves of the finished trials in their order, one worker: what it would have stopped, how many epochs it would have
spent, and whether the best network would have survived. (The sampler would have learnt from other trials: what is
compared is the rule, not the search that follows from it.) Each finished job is kept in docs/results/stopping.json.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

from benchmarks.jobs import keep, kept, report_of
from search import early_stopping
from search.spec import parse

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME, SEEDS = "stopping", (0, 1, 2, 3)
RULES: dict[str, dict[str, Any] | None] = {
    "none": None,
    "loss at 40 %": {"kind": "halving", "from": 0.4},
    "EGF_1 at 40 %": {"kind": "halving", "from": 0.4, "by": "egf_1"},
    "loss at 20 %": {"kind": "halving", "from": 0.2},
    "EGF_1 at 20 %": {"kind": "halving", "from": 0.2, "by": "egf_1"},
}


def trials(report: dict[str, Any]) -> list[dict[str, Any]]:
    fields = ("epoch", "loss", "egf_1")
    return [
        {"weights": each["weights"], "curves": [{field: epoch[field] for field in fields} for epoch in each["curves"]]}
        for each in sorted(report["trials"], key=lambda each: each["ordinal"])
        if each["state"] == "complete"
    ]


def replay(spec: dict[str, Any], found: list[dict[str, Any]], rule: dict[str, Any] | None) -> dict[str, float]:
    """What a rule would have made of these trials."""
    parsed = parse(spec | {"search": spec["search"] | {"stopping": rule}})
    rung, field = early_stopping.rung(parsed), early_stopping.compared_by(parsed)
    peers: list[tuple[int, float]] = []
    epochs, left = 0, []
    for trial in found:
        curves, stops = trial["curves"], False
        if rung is not None:
            value = curves[rung - 1][field]
            stops = not early_stopping.goes_on(parsed, rung, value, trial["weights"], peers)
            peers.append((trial["weights"], value))
        epochs += rung if stops and rung is not None else len(curves)
        if not stops:
            left.append(curves[-1]["loss"])
    final = sorted(each["curves"][-1]["loss"] for each in found)
    return {
        "epochs": epochs / sum(len(each["curves"]) for each in found),
        "stopped": 1 - len(left) / len(found),
        "best": min(left) - final[0],
        "top5": sum(loss in left for loss in final[:5]) / 5,
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".snas"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    spec = json.loads(Path("examples/fashion_mnist_cnn.json").read_text()) | {"confirm": None}
    rows = kept(NAME, "rows")
    for seed in SEEDS:
        if not any(each["seed"] == seed for each in rows):
            report = report_of(spec | {"seed": seed, "name": f"{NAME}-{seed}"}, options)
            rows.append({"seed": seed, "trials": trials(report), "egf_judged": report["egf_judged"]})
            keep(NAME, {"rows": rows})
    summary = {}
    for name, rule in RULES.items():
        replayed = [replay(spec, each["trials"], rule) for each in rows]
        summary[name] = {key: mean(each[key] for each in replayed) for key in replayed[0]}
        shown = summary[name]
        print(
            f"{name}: {shown['epochs']:.0%} of the epochs, {shown['stopped']:.0%} stopped, "
            f"best final loss +{shown['best']:.4f}, {shown['top5']:.0%} of the best five kept"
        )
    keep(NAME, {"rows": rows, "summary": summary})
    draw(summary)


def draw(summary: dict[str, dict[str, float]]) -> None:
    figure, axis = plt.subplots(figsize=(5.4, 3.4))
    for name, each in summary.items():
        colour = "#7f7f7f" if name == "none" else "#4878a8" if "loss" in name else "#d1495b"
        axis.scatter(100 * each["epochs"], 100 * each["top5"], c=colour)
        # Rules may spend alike and keep alike: the labels of neighbours are on both sides of their points.
        above = 6 if "20 %" in name else -12
        axis.annotate(
            name, (100 * each["epochs"], 100 * each["top5"]), (6, above), textcoords="offset points", fontsize=8
        )
    axis.set(xlabel="epochs spent, % of those without stopping", ylabel="of the best five, % kept", ylim=(50, 106))
    axis.set_xlim(left=65, right=105)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig("docs/images/stopping.png", dpi=150)


if __name__ == "__main__":
    main()
