"""The report of a job: one JSON object, every number measured."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.data import Text
from search import sc_sdc_report, topologies
from search.blocks import over_all, present
from search.candidates import front
from search.capacity import flops, macs
from search.confirm import Standing, finals, shortlist, standings, tuned_arms, winner
from search.confirmation import confirmation
from search.egf_judged import judged
from search.gradual_start import NAME
from search.points import Finished, Outcome
from search.problem import Problem, problem_json
from search.regimes import settings
from search.sc_sdc_setting import ScSdc
from search.spec import JobSpec, dump


def build(
    job: Mapping[str, Any],
    spec: JobSpec,
    problem: Problem,
    finished: Sequence[Finished],
    shortlisted: Sequence[Finished],
    final: Sequence[Finished],
) -> dict[str, Any]:
    """The report as it stands: `confirmation` and `verdict` are null until the last run of the confirmation is over.

    job       what the caller keeps of the job; its spec and problem are added
    finished, shortlisted, final  what is over of each stage

    Strict JSON: what is not a finite number (the loss of a diverged trial) is null.
    """
    shown, words = None, None
    if _is_over(spec, problem, finished, shortlisted, final):
        ranked = standings(spec, problem, finished, shortlisted)
        first = winner(spec, ranked)
        if first is None:
            words = _nothing_confirmed(ranked)
        else:
            tuned = tuned_arms(spec, problem, finished, shortlisted)
            shown, words = confirmation(spec, problem, ranked, first, tuned, final)
    compared = None
    if isinstance(spec.search.space, ScSdc):
        compared = sc_sdc_report.section(spec, problem, finished)
        words = sc_sdc_report.verdict(compared) if len(finished) == spec.search.trials else None
    report: dict[str, Any] = _finite(
        {
            "job": {**job, "spec": dump(spec), "problem": problem_json(problem)},
            "pareto": _pareto(spec, problem, finished) if compared is None else [],
            "trials": [_trial(spec, problem, each) for each in sorted(finished, key=lambda each: each.number or 0)],
            "egf_judged": judged(finished),
            "confirmation": shown,
            "verdict": words,
            "sc_sdc": compared,
        }
    )
    return report


def _is_over(
    spec: JobSpec,
    problem: Problem,
    finished: Sequence[Finished],
    shortlisted: Sequence[Finished],
    final: Sequence[Finished],
) -> bool:
    if spec.confirm is None:
        return False
    asked = shortlist(spec, problem, finished)
    if len(shortlisted) < len(asked) or (not asked and len(finished) < spec.search.trials):
        return False
    return len(final) >= len(finals(spec, problem, finished, shortlisted))


def _nothing_confirmed(ranked: Sequence[Standing]) -> str:
    stage = "no run of the shortlist's choice completed" if ranked else "no trial or no run of the shortlist completed"
    return f"Nothing could be confirmed: {stage}."


def _trial(spec: JobSpec, problem: Problem, each: Finished) -> dict[str, Any]:
    """One row; a trial that was stopped shows what its last epoch measured."""
    outcome = each.outcome
    last: Mapping[str, Any] = each.curves[-1] if each.curves else {}
    nnz = outcome.nnz if outcome else last.get("nnz")
    network = each.assignment.network
    there = present(network, problem.layers)

    def over(values: Sequence[int]) -> list[int]:
        return over_all(network, problem.layers, values, 0)

    return {
        "number": each.number,
        "ordinal": each.assignment.ordinal,
        "label": each.assignment.label,
        "settings": settings(each.assignment.regime),
        "state": each.state,
        "error": each.error,
        "pruning_run": problem.gradual.cost if problem.gradual and each.assignment.label == f"start:{NAME}" else None,
        "densities": _densities(problem, over(nnz)) if nnz else None,
        "nnz_asked": over(each.assignment.counts),
        "nnz": over(nnz) if nnz else None,
        "weights": sum(nnz) if nnz else None,
        "macs": macs(there, nnz) if nnz else None,
        "flops": flops(there, nnz) if nnz else None,
        "latency": outcome.latency if outcome else None,
        "seed": each.assignment.seed,
        "storage": list(outcome.storage) if outcome else None,
        "connections": outcome.connections if outcome else None,
        "loss": outcome.loss if outcome else last.get("loss"),
        "accuracy": outcome.accuracy if outcome else last.get("accuracy"),
        "balanced_accuracy": outcome.balanced_accuracy if outcome else last.get("balanced_accuracy"),
        "perplexity": _perplexity(spec, outcome) if outcome else None,
        "epochs": len(each.curves),
        "curves": [{**epoch, "nnz": over(epoch["nnz"])} if "nnz" in epoch else epoch for epoch in each.curves],
        "egf_1": outcome.egf_1 if outcome else None,
        "egf_2": outcome.egf_2 if outcome else None,
        "seconds": outcome.seconds if outcome else sum(epoch["seconds"] for epoch in each.curves),
        "measures": topologies.shown(outcome.measures) if outcome else {},
    }


def _pareto(spec: JobSpec, problem: Problem, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """The front, the smallest network first. Its values are the search's own: one seed, on the validation part."""
    complete = [each for each in finished if each.state == "complete"]
    best = sorted(front(spec, complete), key=lambda each: (each.measured.weights, each.number or 0))
    return [
        {
            "trial": each.number,
            "settings": settings(each.assignment.regime),
            "accuracy": each.measured.accuracy,
            "weights": each.measured.weights,
            "densities": _densities(problem, over_all(each.assignment.network, problem.layers, each.measured.nnz, 0)),
            "macs": each.measured.macs,
            "loss": each.measured.loss,
            "balanced_accuracy": each.measured.balanced_accuracy,
            "perplexity": _perplexity(spec, each.measured),
        }
        for each in best
    ]


def _perplexity(spec: JobSpec, outcome: Outcome) -> float | None:
    """Of other data it would mean nothing."""
    return outcome.perplexity if isinstance(spec.data, Text) else None


def _densities(problem: Problem, nnz: Sequence[int]) -> list[float]:
    return [count / layer.total for count, layer in zip(nnz, problem.layers, strict=True)]


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value
