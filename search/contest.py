"""What the final's arms gave, seed by seed, and how the winner compares."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.arms import Contestant
from search.blocks import over_all
from search.objectives import Measure
from search.paired_test import Interval, SignedRank, holm, interval, signed_rank
from search.points import Finished, Outcome
from search.problem import Problem
from search.regimes import settings
from search.topologies import shown


@dataclass(frozen=True)
class Result:
    """One arm's runs on the test part. outcomes: of complete runs by seed; failed: runs that gave none."""

    arm: Contestant
    outcomes: Mapping[int, Outcome]
    failed: int
    measure: Measure

    @property
    def values(self) -> list[float]:
        return [float(getattr(outcome, self.measure)) for outcome in self.outcomes.values()]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.outcomes else None

    @property
    def sd(self) -> float | None:
        return statistics.stdev(self.values) if len(self.outcomes) > 1 else None

    def average(self, name: str) -> float | None:
        """Of a count over the runs: the count itself where all are equal."""
        counted = [getattr(outcome, name) for outcome in self.outcomes.values()]
        if len(set(counted)) == 1:
            return int(counted[0])
        return statistics.fmean(counted) if counted else None


@dataclass(frozen=True)
class AgainstStarts:
    """The winner beside the best start of the shortlist. difference: None where they are one network."""

    name: str
    snas: Result
    start: Result
    difference: Interval | None

    @property
    def winner_is_start(self) -> bool:
        return self.difference is None

    @property
    def recommended(self) -> Result:
        """The searched network only if its advantage is beyond doubt: the start costs no search."""
        return self.snas if self.difference is not None and self.difference.above_zero else self.start


def results(problem_arms: Sequence[Contestant], finals: Sequence[Finished], measure: Measure) -> dict[str, Result]:
    found = {}
    for arm in problem_arms:
        runs = [each for each in finals if each.assignment.label == (arm.same_as or arm.name)]
        runs.sort(key=lambda each: each.assignment.ordinal)
        outcomes = {each.assignment.seed: each.outcome for each in runs if each.outcome is not None}
        found[arm.name] = Result(arm, outcomes, len(runs) - len(outcomes), measure)
    return found


def differences(one: Result, other: Result) -> list[float]:
    """`one` minus `other` in the measure, for each seed that both completed."""
    return [
        float(getattr(outcome, one.measure) - getattr(other.outcomes[seed], one.measure))
        for seed, outcome in one.outcomes.items()
        if seed in other.outcomes
    ]


def main_test(found: Mapping[str, Result]) -> tuple[list[float], SignedRank] | None:
    """The one test that carries the verdict, declared beforehand: `snas` above `same_capacity`."""
    if "same_capacity" not in found:
        return None
    paired = differences(found["snas"], found["same_capacity"])
    return (paired, signed_rank(paired, "greater")) if paired else None


def exploratory(found: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    """`snas` minus every other network: not planned as tests, so corrected for their number."""
    rows: dict[str, dict[str, Any]] = {}
    tests: dict[str, SignedRank] = {}
    for name, result in found.items():
        elsewhere = name in ("snas", "same_capacity") or result.arm.same_as is not None
        paired = [] if elsewhere else differences(found["snas"], result)
        if paired:
            tests[name] = signed_rank(paired, "two-sided")
            between = interval(paired)
            rows[name] = {"difference": between.mean, "interval": [between.low, between.high], "pairs": len(paired)}
    corrected = holm({name: test.p for name, test in tests.items()})
    return {name: row | {"p": tests[name].p, "p_holm": corrected[name]} for name, row in rows.items()}


def against_starts(found: Mapping[str, Result], own: str | None, rival: str | None) -> AgainstStarts | None:
    """own: the start that the winner is, if it is one; rival: the best start otherwise, None where there is none."""
    snas = found["snas"]
    if own is None and "start" in found and found["start"].arm.same_as == "snas":
        own = rival  # found by the search, and yet the very network that a rule gives
    if own is not None:
        return AgainstStarts(own, snas, snas, None) if snas.outcomes else None
    paired = differences(snas, found["start"]) if "start" in found else []
    return AgainstStarts(rival, snas, found["start"], interval(paired)) if rival and paired else None


def result_json(result: Result, problem: Problem) -> dict[str, Any]:
    arm, outcomes = result.arm, result.outcomes
    layers = arm.network.layers(problem.input_shape, problem.classes)

    def over(values: Sequence[float], absent: float) -> list[float]:
        return over_all(arm.network, problem.layers, values, absent)

    return {
        "topology": None if arm.topology is None else arm.topology.kind,
        "weights": result.average("weights"),
        "macs": result.average("macs"),
        "accuracies": [outcome.accuracy for outcome in outcomes.values()],
        "balanced_accuracies": [outcome.balanced_accuracy for outcome in outcomes.values()],
        "losses": [outcome.loss for outcome in outcomes.values()],
        "mean": result.mean,
        "sd": result.sd,
        "failed": result.failed,
        "widths": [layer.outputs for layer in layers[:-1]],
        "same_as": arm.same_as,
        "settings": settings(arm.regime),
        "seconds": sum(outcome.seconds for outcome in outcomes.values()),
        "runs": [
            {
                "seed": seed,
                "nnz_asked": over(outcome.nnz_asked, 0),
                "nnz": over(outcome.nnz, 0),
                "densities": over([n / layer.total for n, layer in zip(outcome.nnz, layers, strict=True)], 0.0),
                "macs": outcome.macs,
                "connections": outcome.connections,
                "storage": outcome.storage,
                "egf_1": outcome.egf_1,
                "egf_2": outcome.egf_2,
                "measures": shown(outcome.measures),
                "epochs": outcome.epochs,
            }
            for seed, outcome in outcomes.items()
        ],
    }
