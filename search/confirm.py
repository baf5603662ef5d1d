"""The confirmation: which points are trained afresh once the search is over, and who wins the shortlist."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from models.seeds import derive
from search import objectives
from search.arms import Contestant, contestants
from search.candidates import Candidate, candidates
from search.points import Assignment, Finished, Outcome
from search.problem import Problem
from search.spec import ChosenTrial, JobSpec, SmallestWithin


@dataclass(frozen=True)
class Standing:
    """How a candidate did on fresh seeds; the value that the search saw is not among them.

    score   mean - 1 sd: between two equal means the steadier network is taken, and one that collapsed once is not
    failed  runs that gave no outcome
    """

    candidate: Candidate
    outcomes: tuple[Outcome, ...]
    values: tuple[float, ...]
    failed: int

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def score(self) -> float:
        return self.mean - self.sd

    @property
    def rank(self) -> tuple[bool, float, float]:
        """Sorts the best first: whole ones, then by score, then by loss."""
        return self.failed > 0, -self.score, statistics.fmean(outcome.loss for outcome in self.outcomes)


def shortlist(spec: JobSpec, problem: Problem, finished: Sequence[Finished]) -> list[Assignment]:
    """Every candidate with the same fresh seeds, seed by seed; nothing without a confirmation or a candidate."""
    if spec.confirm is None:
        return []
    chosen = candidates(spec, problem, finished)
    pairs = [(number, each) for number in range(spec.confirm.shortlist_seeds) for each in chosen]
    return [
        Assignment(
            stage="shortlist",
            ordinal=ordinal,
            seed=derive(spec.seed, "shortlist", number),
            label=each.label,
            trial=each.trial,
            network=spec.network,
            rewiring=spec.rewiring,
            counts=each.counts,
        )
        for ordinal, (number, each) in enumerate(pairs)
    ]


def standings(
    spec: JobSpec, problem: Problem, finished: Sequence[Finished], shortlisted: Sequence[Finished]
) -> list[Standing]:
    """The candidates that gave at least one outcome, the best first."""
    found = []
    for candidate in candidates(spec, problem, finished):
        runs = [each for each in shortlisted if each.assignment.label == candidate.label]
        runs.sort(key=lambda each: each.assignment.ordinal)
        outcomes = tuple(each.outcome for each in runs if each.outcome is not None)
        values = tuple(getattr(outcome, objectives.measure(spec)) for outcome in outcomes)
        if outcomes:
            found.append(Standing(candidate, outcomes, values, len(runs) - len(outcomes)))
    return sorted(found, key=lambda each: each.rank)


def winner(spec: JobSpec, ranked: Sequence[Standing]) -> Standing | None:
    """The best score; the trial that the user named; or the smallest whose score is within the points asked for.

    None where every run that could have made one failed.
    """
    assert spec.confirm is not None
    match spec.confirm.choose:
        case ChosenTrial(trial=number):
            return next((each for each in ranked if each.candidate.trial == number), None)
        case SmallestWithin(points=points):
            near = [each for each in ranked if each.score >= ranked[0].score - points / 100]
            return min(near, key=lambda each: each.candidate.weights, default=None)
    return ranked[0] if ranked else None


def best_start(ranked: Sequence[Standing]) -> Standing | None:
    """The start that the search has to beat; None where the space contains none."""
    return next((each for each in ranked if each.candidate.rule is not None), None)


def final_arms(spec: JobSpec, problem: Problem, ranked: Sequence[Standing]) -> tuple[Contestant, ...]:
    """The arms of the final; none without a winner."""
    first, start = winner(spec, ranked), best_start(ranked)
    if first is None:
        return ()
    rival = start.candidate if start and first.candidate.start is None else None
    return contestants(spec, problem, first.candidate, rival)


def finals(
    spec: JobSpec, problem: Problem, finished: Sequence[Finished], shortlisted: Sequence[Finished]
) -> list[Assignment]:
    """Every arm with the same fresh seeds, seed by seed; an arm equal to an earlier one has that one's runs."""
    if spec.confirm is None:
        return []
    ranked = standings(spec, problem, finished, shortlisted)
    own = [arm for arm in final_arms(spec, problem, ranked) if arm.same_as is None]
    pairs = [(number, arm) for number in range(spec.confirm.seeds) for arm in own]
    return [
        Assignment(
            stage="final",
            ordinal=ordinal,
            seed=derive(spec.seed, "final", number),
            label=arm.name,
            trial=arm.trial,
            network=arm.network,
            rewiring=arm.rewiring,
            counts=arm.counts[number],
            topology=arm.topology,
        )
        for ordinal, (number, arm) in enumerate(pairs)
    ]
