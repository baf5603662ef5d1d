"""The confirmation as the report shows it: shortlist, arms, the test, the starts, and the verdict."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from search import contest, objectives, verdict
from search.blocks import over_all
from search.confirm import Standing, best_start, final_arms
from search.paired_test import ZERO_METHOD, SignedRank, interval, smallest_p
from search.points import Finished
from search.problem import Problem
from search.regimes import applied, settings
from search.spec import JobSpec
from search.tuning import Tuned


def confirmation(
    spec: JobSpec,
    problem: Problem,
    ranked: Sequence[Standing],
    first: Standing,
    tuned: Sequence[Tuned],
    final: Sequence[Finished],
) -> tuple[dict[str, Any], str]:
    """The report's `confirmation`, and its `verdict`.

    ranked  the shortlist; first: its winner; tuned: how the dense arms did with the shortlist's settings
    final   the runs of all arms
    """
    assert spec.confirm is not None
    measure = objectives.measure(spec)
    found = contest.results(final_arms(spec, problem, ranked, tuned), final, measure)
    tested = contest.main_test(found)
    start = best_start(ranked)
    rival = start.candidate.start if start else None
    compared = contest.against_starts(found, first.candidate.start, rival)
    asked = "same_capacity" in spec.confirm.arms
    shown = {
        "measure": measure,
        "shortlist": [_standing(spec, problem, each, each is first) for each in ranked],
        "tuning": [_tuned(each) for each in tuned],
        "winner": _winner(spec, problem, first),
        "arms": {name: contest.result_json(result, problem) for name, result in found.items()},
        "test": _test(measure, *tested) if tested else None,
        "p": tested[1].p if tested else None,
        "exploratory": contest.exploratory(found),
        "against_starts": _against_starts(compared),
    }
    if not found["snas"].outcomes:
        return shown, "Nothing could be confirmed: every final run of the winner failed."
    return shown, f"{verdict.against_dense(found, asked, tested)} {verdict.against_starts(compared)}"


def _standing(spec: JobSpec, problem: Problem, standing: Standing, wins: bool) -> dict[str, Any]:
    return _candidate(spec, problem, standing) | {
        "accuracies": [outcome.accuracy for outcome in standing.outcomes],
        "losses": [outcome.loss for outcome in standing.outcomes],
        "mean": standing.mean,
        "sd": standing.sd if len(standing.values) > 1 else None,
        "score": standing.score,
        "failed": standing.failed,
        "winner": wins,
    }


def _tuned(each: Tuned) -> dict[str, Any]:
    return {
        "arm": each.arm,
        "settings": settings(each.regime),
        "values": list(each.values),
        "mean": fmean(each.values),
        "score": each.score,
        "failed": each.failed,
    }


def _winner(spec: JobSpec, problem: Problem, standing: Standing) -> dict[str, Any]:
    network = applied(spec, standing.candidate.regime).network
    asked = over_all(network, problem.layers, standing.candidate.counts, 0)
    return _candidate(spec, problem, standing) | {"nnz_asked": asked}


def _candidate(spec: JobSpec, problem: Problem, standing: Standing) -> dict[str, Any]:
    measured = standing.outcomes[0]
    nnz = over_all(applied(spec, standing.candidate.regime).network, problem.layers, measured.nnz, 0)
    return {
        "label": standing.candidate.label,
        "trial": standing.candidate.trial,
        "settings": settings(standing.candidate.regime),
        "weights": measured.weights,
        "macs": measured.macs,
        "densities": [count / layer.total for count, layer in zip(nnz, problem.layers, strict=True)],
    }


def _test(measure: str, differences: Sequence[float], test: SignedRank) -> dict[str, Any]:
    between = interval(differences)
    return {
        "name": "one-sided paired Wilcoxon signed-rank, snas above same_capacity",
        "measure": measure,
        "differences": list(differences),
        "mean_difference": between.mean,
        "interval": [between.low, between.high],
        "pairs": test.pairs,
        "zeros": test.zeros,
        "zero_method": ZERO_METHOD,
        "exact": test.exact,
        "statistic": test.statistic,
        "smallest_p": smallest_p(test.pairs - test.zeros),
    }


def _against_starts(compared: contest.AgainstStarts | None) -> Mapping[str, Any] | None:
    if compared is None:
        return None
    between = compared.difference
    return {
        "start": compared.name,
        "arm": compared.start.arm.same_as or compared.start.arm.name,
        "weights": compared.start.average("weights"),
        "macs": compared.start.average("macs"),
        "winner_is_start": compared.winner_is_start,
        "difference": between.mean if between else None,
        "interval": [between.low, between.high] if between else None,
        "recommended": compared.recommended.arm.same_as or compared.recommended.arm.name,
    }
