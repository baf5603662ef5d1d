"""What a density search gains over ERK at equal active weights: budgets of 5 % and 2 %, three job seeds each.

Each finished job is kept in docs/results/density_search.json and not run again; remove the file to measure anew.
"""

import json
from statistics import median
from typing import Any

import matplotlib

from benchmarks.jobs import arguments, keep, kept, report_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt

NAME = "density_search"
DENSITIES = (0.05, 0.02)
SEEDS = (0, 1, 2)
ARMS = ("uniform", "erk", "start", "snas", "same_capacity")


def main() -> None:
    options = arguments(__doc__)
    spec = json.loads(options.spec.read_text())
    rows = kept(NAME, "rows")
    for density in DENSITIES:
        for seed in SEEDS:
            if not any((each["density"], each["seed"]) == (density, seed) for each in rows):
                rows.append(row(density, seed, report_of(at(spec, density, seed), options)))
                keep(NAME, {"rows": rows})
    for each in rows:
        print(line(each))
    summary = [summarise(density, [each for each in rows if each["density"] == density]) for density in DENSITIES]
    for each in summary:
        print(f"density {each['density']:.0%}: median over job seeds of snas - erk = {each['gain']:+.2f} points")
    keep(NAME, {"rows": rows, "summary": summary})
    draw(rows)


def at(spec: dict[str, Any], density: float, seed: int) -> dict[str, Any]:
    search = spec["search"] | {"space": {"kind": "budget", "density": density}}
    return spec | {"name": f"{spec['name']}-{density}-{seed}", "seed": seed, "search": search}


def row(density: float, seed: int, report: dict[str, Any]) -> dict[str, Any]:
    arms = report["confirmation"]["arms"]
    fields = ("weights", "macs", "mean", "sd", "accuracies")
    shown = {name: {field: arms[name][field] for field in fields} for name in ARMS if name in arms}
    return {
        "density": density,
        "seed": seed,
        "arms": shown,
        "against_starts": report["confirmation"]["against_starts"],
        "verdict": report["verdict"],
    }


def summarise(density: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    gains = [100 * (each["arms"]["snas"]["mean"] - each["arms"]["erk"]["mean"]) for each in rows]
    return {"density": density, "gains": gains, "gain": median(gains)}


def line(row: dict[str, Any]) -> str:
    arms = [
        f"{name} {100 * arm['mean']:.2f} ± {100 * arm['sd']:.2f} ({arm['macs'] / 1000:.0f} kMAC)"
        for name, arm in row["arms"].items()
    ]
    return f"{row['density']:.0%} seed {row['seed']}: " + " | ".join(arms)


def draw(rows: list[dict[str, Any]]) -> None:
    figure, axes = plt.subplots(1, len(DENSITIES), figsize=(9, 3.6), sharex=False)
    for axis, density in zip(axes, DENSITIES, strict=True):
        for name, colour in zip(ARMS, ("#b0b0b0", "#4878a8", "#8cb369", "#d1495b", "#7f7f7f"), strict=True):
            arms = [each["arms"][name] for each in rows if each["density"] == density and name in each["arms"]]
            marker = "x" if name == "same_capacity" else "o"
            axis.scatter(
                [a["macs"] / 1000 for a in arms], [100 * a["mean"] for a in arms], c=colour, marker=marker, label=name
            )
        axis.set_title(f"{density:.0%} of the weights active", fontsize=10)
        axis.set_xlabel("kMAC per image")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("test accuracy, %")
    axes[-1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig("docs/images/density_search.png", dpi=150)


if __name__ == "__main__":
    main()
