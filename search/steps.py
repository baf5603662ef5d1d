"""Which part of a search a trial belongs to: its parameters, the starts it begins with, how many trials it has."""

from collections.abc import Mapping
from dataclasses import dataclass

from optuna.distributions import BaseDistribution

from search.capacity import prunable
from search.gradual_start import NAME
from search.problem import Problem
from search.space import distributions, residual_distributions, shape_distributions
from search.spec import Budget, JobSpec
from search.starts import Start, starts


@dataclass(frozen=True)
class Step:
    """Trials that vary the same parameters.

    first, trials  its ordinals: `trials` of them from `first`
    given          starts that come first in it
    distributions  of the points after them
    centred        whether these parameters are residuals, around the best trial of the step before
    """

    first: int
    trials: int
    given: tuple[Start, ...]
    distributions: Mapping[str, BaseDistribution]
    centred: bool = False


def step(spec: JobSpec, problem: Problem, ordinal: int) -> Step:
    """The step of the trial with this ordinal."""
    trials, space, layers = spec.search.trials, spec.search.space, problem.layers
    given = starts(spec, layers, problem.found)[:trials]
    if not (isinstance(space, Budget) and space.steps == "two"):
        return Step(0, trials, given, distributions(spec, layers))
    first = max(space.first_step(trials), len(given))
    if ordinal < first:
        return Step(0, first, given, shape_distributions(spec, prunable(spec.network, layers)))
    return Step(first, trials - first, (), residual_distributions(spec, layers), centred=True)


def awaits_pruning(spec: JobSpec, problem: Problem, ordinal: int) -> bool:
    """Whether the trial with this ordinal is the start whose pruning run nobody has trained yet."""
    given = starts(spec, problem.layers, problem.found)[: spec.search.trials]
    return problem.gradual is None and ordinal < len(given) and given[ordinal].name == NAME
