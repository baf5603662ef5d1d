"""What is searched: densities alone, or densities with topology and rewiring, at 2 % of the weights and equal trials.

LeNet-300-100 and the small CNN of `density_search` on Fashion-MNIST. Beside each winner stands ERK in the same regime,
unsearched: with SET for the first search, with the winner's topology and rewiring for the second. Each finished job is
kept in docs/results/regimes.json and not run again; remove the file to measure anew.
"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.jobs import keep, kept, report_of

NAME = "regimes"
DENSITY, TRIALS, SEEDS = 0.02, 24, 8
ARMS = ("snas", "erk", "start", "dense", "same_capacity")
CHOICES = {
    "topology": [{"kind": "random"}, {"kind": "snip"}, {"kind": "synflow"}],
    "rewiring": [
        {"kind": "static"},
        {"kind": "set", "fraction": 0.3},
        {"kind": "rigl", "every": 50},
    ],
}
LENET: dict[str, Any] = {
    "data": {"kind": "files", "name": "fashion-mnist", "validation": 0.2, "limit": 25000},
    "network": {"kind": "lenet_300_100", "batch_norm": True},
    "training": {
        "epochs": 10,
        "batch_size": 128,
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
        "schedule": {"kind": "cosine", "warm_up": 0.1},
    },
}


def jobs() -> dict[str, dict[str, Any]]:
    cnn = json.loads(Path("examples/fashion_mnist_cnn.json").read_text())
    common = {
        "seed": 0,
        "topology": {"kind": "random"},
        "rewiring": {"kind": "set", "fraction": 0.3},
        "confirm": {"shortlist": 4, "shortlist_seeds": 3, "seeds": SEEDS, "arms": ["dense", "same_capacity", "erk"]},
    }
    search = {"space": {"kind": "budget", "density": DENSITY}, "objectives": ["loss"], "trials": TRIALS}
    found = {}
    for network, base in (("LeNet-300-100", LENET), ("CNN", {key: cnn[key] for key in LENET})):
        found[f"{network}, densities"] = base | common | {"search": search}
        found[f"{network}, densities + regime"] = base | common | {"search": search | {"choices": CHOICES}}
    return found


def row(name: str, report: dict[str, Any]) -> dict[str, Any]:
    arms = report["confirmation"]["arms"]
    fields = ("weights", "macs", "mean", "sd", "accuracies", "settings")
    winner = report["confirmation"]["shortlist"][0]
    return {
        "job": name,
        "winner": {key: winner[key] for key in ("label", "densities", "settings") if key in winner},
        "arms": {arm: {each: arms[arm].get(each) for each in fields} for arm in ARMS if arm in arms},
        "against_starts": report["confirmation"]["against_starts"],
        "seconds": sum(trial["seconds"] for trial in report["trials"]),
        "verdict": report["verdict"],
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".snas"))
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rows = kept(NAME, "rows")
    for name, spec in jobs().items():
        if not any(each["job"] == name for each in rows):
            rows.append(row(name, report_of(spec | {"name": name}, options)))
            keep(NAME, {"rows": rows})
    for each in rows:
        arms = "  ".join(f"{arm} {100 * a['mean']:.2f} ± {100 * a['sd']:.2f}" for arm, a in each["arms"].items())
        print(f"{each['job']}: {arms}\n    {each['winner']}\n    {each['verdict']}", flush=True)


if __name__ == "__main__":
    main()
