"""Does early gradient flow foretell which trials end well? Judged over a job's own trials, beside plainer measures."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.points import Finished

Measures = dict[str, list[float | None]]
"""By name, one value of each trial."""

LEAST = 5
"""Fewer complete trials are no ground to judge a measure."""

FLOWS = ("egf_1", "egf_2")
"""What epochs report of gradient flow."""


def judged(finished: Sequence[Finished]) -> dict[str, Any] | None:
    """Kendall's tau-b of early measures with the final loss and accuracy; None with fewer than LEAST complete trials.

    Early is the first epoch that measured gradient flow. Beside it stand the held-out loss of that epoch and the
    multiply-adds, which need no training at all. `whole` judges the means over the training, which foretell nothing but
    are what Tessera, Hooker and Rosman 2021 (arXiv 2102.01670) compare, with the whole gradient's norms beside EGF
    where the job measures those.

    epoch         of the early measures; n: complete trials
    early, whole  by measure: tau with `loss` (a good measure of flow is below 0) and `accuracy` (above 0); null where
                  all trials are equal in one of the two
    sd_by_chance  of tau where nothing is foretold, without ties
    """
    complete = [each for each in finished if each.state == "complete" and each.curves]
    epochs = [_first_measured(each) for each in complete]
    if len(complete) < LEAST or None in epochs or len(set(epochs)) > 1:
        return None
    rows = [next(row for row in each.curves if row["epoch"] == epochs[0]) for each in complete]
    early: Measures = {name: [row[name] for row in rows] for name in (*FLOWS, "loss")}
    early["macs"] = [each.measured.macs for each in complete]
    whole: Measures = {name: [getattr(each.measured, name) for each in complete] for name in FLOWS}
    norms = [each.measured.measures.get("gradient_norms", {}) for each in complete]
    whole |= {f"gradient_{name}": [found[name] for found in norms] for name in ("norm_1", "norm_2") if all(norms)}
    n = len(complete)
    return {
        "epoch": epochs[0],
        "n": n,
        "sd_by_chance": math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1))),
        "early": _judged(early, complete),
        "whole": _judged(whole, complete),
    }


def _judged(measures: Measures, complete: Sequence[Finished]) -> dict[str, dict[str, float | None]]:
    reached = {end: [getattr(each.measured, end) for each in complete] for end in ("loss", "accuracy")}
    return {
        name: {end: kendall_tau(values, ends) for end, ends in reached.items()} for name, values in measures.items()
    }


def kendall_tau(one: Sequence[float | None], other: Sequence[float]) -> float | None:
    """Tau-b, pairs with a missing value left out; None where one of the two does not vary. Kendall 1945."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None]
    if len({a for a, _ in pairs}) < 2 or len({b for _, b in pairs}) < 2:
        return None
    from scipy import stats  # here: only reports need it, and importing it takes every process longer to start

    return float(stats.kendalltau([a for a, _ in pairs], [b for _, b in pairs]).statistic)


def _first_measured(each: Finished) -> int | None:
    rows: list[Mapping[str, Any]] = [row for row in each.curves if row.get("egf_1") is not None]
    return int(rows[0]["epoch"]) if rows else None
