"""Who is shortlisted: the best of the search, and the starts it has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from search import hand_set, objectives
from search.capacity import kept_weights, prunable, with_kept
from search.choices import Regime
from search.points import Finished
from search.problem import Problem
from search.projection import fit
from search.regimes import layers_of
from search.space import floors
from search.spec import Best, ChosenTrial, Confirm, JobSpec, SmallestWithin
from search.starts import starts

Point = tuple[tuple[int, ...], Regime]


@dataclass(frozen=True)
class Candidate:
    """label: `start:<its name>`, or `trial:<number>`; trial: the trial with these counts and settings, if there is one;
    regime: its settings beside densities."""

    label: str
    trial: int | None
    counts: tuple[int, ...]
    regime: Regime = ()

    @property
    def weights(self) -> int:
        return sum(self.counts)

    @property
    def start(self) -> str | None:
        """The name of a start."""
        kind, _, name = self.label.partition(":")
        return name if kind == "start" else None

    @property
    def rule(self) -> hand_set.Rule | None:
        """The rule of a start, which holds at any capacity; `dense` has none, nor have counts that come from scores."""
        return next((rule for rule in get_args(hand_set.Rule) if rule == self.start), None)


def candidates(spec: JobSpec, problem: Problem, finished: Sequence[Finished]) -> tuple[Candidate, ...]:
    """The chosen trials, best first, then the starts that are not among them; none if no trial can be chosen.

    The references, `uniform` and `dense`, are candidates only where they are among the chosen.

    Starts stand at the capacity of the first chosen trial. Under a budget that is where they were tried; in a free
    space they were tried at another one, and comparing accuracies across capacities would say nothing of the search.
    For the same reason they have its settings, where the job varies any.
    """
    assert spec.confirm is not None
    chosen = _chosen(spec, spec.confirm, sorted(finished, key=_number))
    if not chosen:
        return ()
    regime = chosen[0].assignment.regime
    by_hand = _starts_at(spec, problem, sum(chosen[0].assignment.counts), regime)
    found: dict[Point, Candidate] = {}
    for each in chosen:
        counts, own = point = _point(each)
        by_rule = by_hand.get(counts) if own == regime else None
        label = by_rule or _reference(each) or f"trial:{each.number}"
        found.setdefault(point, Candidate(label, each.number, counts, own))
    tried = {_point(each): each.number for each in sorted(finished, key=_number, reverse=True)}
    for counts, label in by_hand.items():
        found.setdefault((counts, regime), Candidate(label, tried.get((counts, regime)), counts, regime))
    return tuple(found.values())


def at_capacity(name: str, spec: JobSpec, problem: Problem, weights: int, regime: Regime) -> tuple[int, ...] | None:
    """A start's counts at an exact total, layers kept dense included; None where it is not defined.

    name    of a rule, or of a start whose counts were found; these keep their shares where blocks are switched off
    regime  decides which layers are there
    """
    layers = layers_of(spec, problem.layers, regime)
    searched, rest = prunable(spec.network, layers), weights - kept_weights(spec.network, layers)
    least = floors(spec.search.space, searched)
    if (rule := next((each for each in get_args(hand_set.Rule) if each == name), None)) is not None:
        found = hand_set.counts(rule, searched, rest, least)
        return None if found is None else with_kept(spec.network, layers, found)
    whole = zip(prunable(spec.network, problem.layers), dict(problem.found)[name], strict=True)
    return with_kept(spec.network, layers, fit(searched, [n for layer, n in whole if layer in searched], rest, least))


def _reference(each: Finished) -> str | None:
    label = each.assignment.label
    return label if label in ("start:uniform", "start:dense") else None


def _starts_at(spec: JobSpec, problem: Problem, weights: int, regime: Regime) -> dict[tuple[int, ...], str]:
    first = starts(spec, problem.layers, problem.found)[: spec.search.trials]
    tried = [start.name for start in first if start.params is not None]
    found: dict[tuple[int, ...], str] = {}
    for name in (*hand_set.STARTS, *dict(problem.found)):
        counts = at_capacity(name, spec, problem, weights, regime) if name in tried else None
        if counts is not None:
            found.setdefault(counts, f"start:{name}")
    return found


def front(spec: JobSpec, complete: Sequence[Finished]) -> list[Finished]:
    """The trials that no other dominates. A job of one objective has a front too: its measure against weights."""
    names = spec.search.objectives
    if len(names) == 1:
        names = (objectives.measure(spec), "weights")
    costs = [[objectives.cost(name, each.measured) for name in names] for each in complete]
    return [complete[index] for index in objectives.non_dominated(costs)]


def _chosen(spec: JobSpec, confirm: Confirm, finished: Sequence[Finished]) -> list[Finished]:
    complete = [each for each in finished if each.state == "complete"]
    match confirm.choose:
        case ChosenTrial(trial=number):
            return [each for each in finished if each.number == number]
        case Best():
            return _best(spec, complete)[: confirm.shortlist]
        case SmallestWithin(points=points):
            return _smallest(spec, complete, points)[: confirm.shortlist]


def _best(spec: JobSpec, complete: Sequence[Finished]) -> list[Finished]:
    """By quality; in a Pareto job those of the front come first."""
    name = objectives.ranked_by(spec)
    ahead = {each.number for each in front(spec, complete)} if len(spec.search.objectives) > 1 else set()
    return sorted(complete, key=lambda each: (each.number not in ahead, objectives.cost(name, each.measured)))


def _smallest(spec: JobSpec, complete: Sequence[Finished], points: float) -> list[Finished]:
    """By size, those within `points` of the best; the best itself second, as what they are compared with."""
    if not complete:
        return []
    name = objectives.measure(spec)
    best = min(complete, key=lambda each: objectives.cost(name, each.measured))
    limit = getattr(best.measured, name) - points / 100
    within = [each for each in complete if getattr(each.measured, name) >= limit]
    within.sort(key=lambda each: (each.measured.weights, objectives.cost(name, each.measured)))
    first, *others = within
    compared = [] if first is best else [best]
    return [first, *compared, *(each for each in others if each is not best)]


def _point(finished: Finished) -> Point:
    return finished.assignment.counts, finished.assignment.regime


def _number(finished: Finished) -> int:
    assert finished.number is not None, "a search trial has Optuna's number"
    return finished.number
