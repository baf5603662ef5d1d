"""The confirmation: which points are trained afresh once the search is over, and who wins the shortlist."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from models.rewiring import Static
from models.seeds import derive
from search import objectives, tuning
from search.arms import Contestant, contestants
from search.candidates import Candidate, candidates
from search.points import Assignment, Finished, Outcome
from search.problem import Problem
from search.regimes import applied
from search.spec import ChosenTrial, Confirm, JobSpec, SmallestWithin
from search.tuning import Tuned


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
    """Every candidate with the same fresh seeds, seed by seed; nothing without a confirmation or a candidate.

    After them come the dense arms with the candidates' settings, where these differ: see search.tuning.
    """
    if spec.confirm is None:
        return []
    chosen = candidates(spec, problem, finished)
    pairs = [(number, each) for number in range(spec.confirm.shortlist_seeds) for each in chosen]
    sparse = [
        Assignment(
            stage="shortlist",
            ordinal=ordinal,
            seed=derive(spec.seed, "shortlist", number),
            label=each.label,
            trial=each.trial,
            network=applied(spec, each.regime).network,
            rewiring=applied(spec, each.regime).rewiring,
            counts=each.counts,
            regime=each.regime,
        )
        for ordinal, (number, each) in enumerate(pairs)
    ]
    return sparse + _tuning_runs(spec, spec.confirm, problem, chosen, len(sparse))


def _tuning_runs(
    spec: JobSpec, confirm: Confirm, problem: Problem, chosen: Sequence[Candidate], first: int
) -> list[Assignment]:
    dense = tuning.contenders(spec, problem, chosen)
    pairs = [(number, label) for number in range(confirm.shortlist_seeds) for label in dense]
    return [
        Assignment(
            stage="shortlist",
            ordinal=ordinal,
            seed=derive(spec.seed, "shortlist", number),
            label=label,
            trial=None,
            network=dense[label][2],
            rewiring=Static(),
            counts=tuple(layer.total for layer in dense[label][2].layers(problem.input_shape, problem.classes)),
            regime=dense[label][1],
        )
        for ordinal, (number, label) in enumerate(pairs, start=first)
    ]


def tuned_arms(
    spec: JobSpec, problem: Problem, finished: Sequence[Finished], shortlisted: Sequence[Finished]
) -> list[Tuned]:
    """How the dense arms did with each of the shortlist's settings; none where these do not differ."""
    return tuning.results(spec, problem, candidates(spec, problem, finished), shortlisted)


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
    return next((each for each in ranked if each.candidate.start not in (None, "dense")), None)


def final_arms(
    spec: JobSpec, problem: Problem, ranked: Sequence[Standing], tuned: Sequence[Tuned]
) -> tuple[Contestant, ...]:
    """The arms of the final; none without a winner. tuned: how the dense ones did with the shortlist's settings."""
    first, start = winner(spec, ranked), best_start(ranked)
    if first is None:
        return ()
    rival = start.candidate if start and first.candidate.start is None else None
    return contestants(spec, problem, first.candidate, rival, tuning.best(tuned))


def finals(
    spec: JobSpec, problem: Problem, finished: Sequence[Finished], shortlisted: Sequence[Finished]
) -> list[Assignment]:
    """Every arm with the same fresh seeds, seed by seed; an arm equal to an earlier one has that one's runs."""
    if spec.confirm is None:
        return []
    ranked = standings(spec, problem, finished, shortlisted)
    tuned = tuned_arms(spec, problem, finished, shortlisted)
    own = [arm for arm in final_arms(spec, problem, ranked, tuned) if arm.same_as is None]
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
            regime=arm.regime,
            topology=arm.topology,
        )
        for ordinal, (number, arm) in enumerate(pairs)
    ]
