"""What the plots of a job's page show: plain numbers out of its report; `static/plots.js` draws them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MOST_CURVES = 200  # trials whose curves are drawn, the newest; each is a line on the page
CURVES = ("accuracy", "loss", "egf_1", "egf_2")

Report = Mapping[str, Any]


def figures(report: Report, open_curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per plot its data; None where there is nothing to show yet.

    open_curves  trials in training: {trial, label, curves}
    """
    return {
        "pareto": _pareto(report),
        "densities": _densities(report),
        "curves": _curves(report, open_curves),
        "confirmation": _confirmation(report),
    }


def chosen_trial(report: Report) -> int | None:
    """Optuna's number of the trial that won the shortlist; before that none."""
    winner = (report["confirmation"] or {}).get("winner")
    return winner["trial"] if winner else None


def _pareto(report: Report) -> dict[str, Any] | None:
    if report.get("sc_sdc"):
        return None  # a comparison, of networks whose sizes were given
    front = {point["trial"] for point in report["pareto"]}
    chosen = chosen_trial(report)
    points = [
        {
            **{name: row[name] for name in ("number", "label", "state", "weights", "macs", "accuracy", "loss")},
            "front": row["number"] in front,
            "chosen": row["number"] == chosen,
        }
        for row in report["trials"]
        if row["weights"] and row["accuracy"] is not None and row["state"] != "failed"
    ]
    if not points:
        return None
    return {"points": points, "against": _differing(points)}


def _differing(points: Sequence[Mapping[str, Any]]) -> str:
    # Under a budget all trials have the same weights, and those of an mlp the same multiply-adds too.
    differ = [name for name in ("weights", "macs") if len({point[name] for point in points}) > 1]
    return differ[0] if differ else "number"


def _densities(report: Report) -> dict[str, Any] | None:
    layers = report["job"]["problem"]["layers"]
    # A layer without connections, of a block that is switched off, has no place on the logarithmic axis: a gap.
    series = [
        {**each, "densities": [density or None for density in each["densities"]]} for each in _density_series(report)
    ]
    return {"layers": [layer["name"] for layer in layers], "series": series} if series else None


def _density_series(report: Report) -> Iterator[dict[str, Any]]:
    confirmation = report["confirmation"] or {}
    if winner := confirmation.get("winner"):
        yield {"name": f"chosen: {_named(winner['label'])}", "role": "chosen", "densities": winner["densities"]}
    for point in sorted(report["pareto"], key=lambda each: -each["accuracy"])[:6]:
        if point["trial"] != chosen_trial(report):
            yield {"name": f"front: trial {point['trial']}", "role": "front", "densities": point["densities"]}
    rules = [row for row in report["trials"] if row["label"] == "start:erk" and row["densities"]]
    at_capacity = confirmation.get("arms", {}).get("erk", {}).get("runs")
    if at_capacity:
        yield {"name": "erk, at the chosen capacity", "role": "start", "densities": at_capacity[0]["densities"]}
    elif rules:
        yield {"name": "erk, the start", "role": "start", "densities": rules[0]["densities"]}


def _named(label: str) -> str:
    kind, _, name = label.partition(":")
    return f"{name} (a start)" if kind == "start" else f"{kind} {name}"


def _curves(report: Report, open_curves: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    front = {point["trial"] for point in report["pareto"]}
    chosen = chosen_trial(report)
    ended = [
        {"trial": row["number"], "label": row["label"], "role": _role(row, front, chosen), **_series(row["curves"])}
        for row in report["trials"]
        if row["curves"]
    ]
    training = [
        {"trial": row["trial"], "label": row["label"], "role": "training", **_series(row["curves"])}
        for row in open_curves
        if row["curves"]
    ]
    lines = (ended + training)[-MOST_CURVES:]
    return {"lines": lines, "left_out": len(ended) + len(training) - len(lines)} if lines else None


def _role(row: Mapping[str, Any], front: set[int], chosen: int | None) -> str:
    if row["number"] == chosen:
        return "chosen"
    if row["number"] in front:
        return "front"
    return str(row["state"])


def _series(epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"epochs": [each["epoch"] for each in epochs]} | {name: [each[name] for each in epochs] for name in CURVES}


def _confirmation(report: Report) -> dict[str, Any] | None:
    confirmation = report["confirmation"]
    if not confirmation:
        return None
    values = {"accuracy": "accuracies", "balanced_accuracy": "balanced_accuracies"}[confirmation["measure"]]
    arms = [
        {"name": name, "values": arm[values], "mean": arm["mean"], "sd": arm["sd"], "weights": arm["weights"]}
        for name, arm in confirmation["arms"].items()
        if arm["mean"] is not None
    ]
    return {"measure": confirmation["measure"], "arms": arms} if arms else None
