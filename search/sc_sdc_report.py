"""What a comparison at the same capacity found: the test of sparse above dense and the gradient flow, by regime."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from search import objectives
from search.objectives import Measure
from search.paired_test import LEVEL, ZERO_METHOD, holm, interval, signed_rank, smallest_p
from search.points import Finished, Outcome
from search.problem import Problem
from search.sc_sdc import comparison, dense_twin, names
from search.sc_sdc_setting import Arm, Initialisation, Point, Regime
from search.spec import JobSpec

Measured = Mapping[Point, Outcome]


def section(spec: JobSpec, problem: Problem, finished: Sequence[Finished]) -> dict[str, Any]:
    """The report's `sc_sdc`: pairs of which both trainings are complete so far, on the validation part."""
    space, measure = comparison(spec), objectives.measure(spec)
    measured = _measured(spec, finished)
    tests = [
        _test(regime, initialisation, _pairs(measured, regime, initialisation), measure)
        for regime in space.regimes()
        for initialisation in space.initialisations
    ]
    corrected = holm({str(number): row["p"] for number, row in enumerate(tests) if row["p"] is not None})
    arms: tuple[Arm, ...] = ("dense", *space.initialisations)
    return {
        "measure": measure,
        "zero_method": ZERO_METHOD,
        "widths": [_width(spec, problem, share) for share in space.widths],
        "tests": [row | {"p_holm": corrected.get(str(number))} for number, row in enumerate(tests)],
        "gradient_flow": [_flow(regime, arm, measured, measure) for regime in space.regimes() for arm in arms],
        "points": [_point(number, point) for number, point in enumerate(space.points())],
    }


def verdict(shown: Mapping[str, Any]) -> str:
    """In words, once all trainings are over."""
    tested = [row for row in shown["tests"] if row["p"] is not None]
    if not tested:
        return "Sparse cannot be compared with dense at equal capacity: no pair was completed."
    possible = [row for row in tested if row["smallest_p"] <= LEVEL]
    if not possible:
        pairs = max(row["pairs"] - row["zeros"] for row in tested)
        ties = " that differ" if any(row["zeros"] for row in tested) else ""
        smallest = smallest_p(pairs)
        return f"No verdict is possible with {pairs} pairs{ties}, where the smallest p of the test is {smallest:.4g}."
    better = sum(row["p"] <= LEVEL for row in possible)
    strictly = sum(row["p_holm"] <= LEVEL for row in possible)
    return (
        f"At equal capacity in every layer, sparse beats dense in {better} of {len(possible)} comparisons (one-sided "
        f"paired Wilcoxon, p <= {LEVEL:g}), in {strictly} after Holm's correction for their number."
    )


def _measured(spec: JobSpec, finished: Sequence[Finished]) -> Measured:
    points = comparison(spec).points()
    return {points[each.assignment.ordinal]: each.outcome for each in finished if each.outcome is not None}


def _pairs(measured: Measured, regime: Regime, initialisation: Initialisation) -> list[tuple[Outcome, Outcome]]:
    """Sparse and dense of each width and seed."""
    return [
        (outcome, dense)
        for point, outcome in measured.items()
        if point.regime == regime and point.arm == initialisation
        if (dense := measured.get(Point(regime, point.share, "dense", point.seed))) is not None
    ]


def _test(
    regime: Regime, initialisation: Initialisation, pairs: Sequence[tuple[Outcome, Outcome]], measure: Measure
) -> dict[str, Any]:
    paired = [float(getattr(sparse, measure) - getattr(dense, measure)) for sparse, dense in pairs]
    head = names(regime) | {"initialisation": initialisation, "pairs": len(paired)}
    head["equal_capacity"] = all(sparse.nnz == dense.nnz for sparse, dense in pairs)
    if not paired:
        return head | dict.fromkeys(("zeros", "mean_difference", "interval", "statistic", "smallest_p", "p"))
    found, between = signed_rank(paired, "greater"), interval(paired)
    return head | {
        "zeros": found.zeros,
        "mean_difference": between.mean,
        "interval": [between.low, between.high],
        "statistic": found.statistic,
        "smallest_p": smallest_p(found.pairs - found.zeros),
        "p": found.p,
    }


def _flow(regime: Regime, arm: Arm, measured: Measured, measure: Measure) -> dict[str, Any]:
    runs = [outcome for point, outcome in measured.items() if (point.regime, point.arm) == (regime, arm)]
    return names(regime) | {
        "arm": arm,
        "runs": len(runs),
        "mean": _mean([getattr(each, measure) for each in runs]),
        "loss": _mean([each.loss for each in runs]),
        "egf_1": _mean([each.egf_1 for each in runs]),
        "egf_2": _mean([each.egf_2 for each in runs]),
    }


def _width(spec: JobSpec, problem: Problem, share: float) -> dict[str, Any]:
    narrow = dense_twin(spec, share).layers(problem.input_shape, problem.classes)
    return {
        "share": share,
        "dense_widths": [layer.outputs for layer in narrow[:-1]],
        "nnz": [layer.total for layer in narrow],
        "densities": [layer.total / wide.total for layer, wide in zip(narrow, problem.layers, strict=True)],
        "weights": sum(layer.total for layer in narrow),
    }


def _point(ordinal: int, point: Point) -> dict[str, Any]:
    return names(point.regime) | {"ordinal": ordinal, "share": point.share, "arm": point.arm, "seed": point.seed}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.fmean(known) if known else None
