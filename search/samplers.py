"""Where the next point comes from: a start given by hand or a sampler of Optuna. Every point is drawn in one go.

Optuna stores a trial's parameters one after another. Drawn one after another too, a point whose worker died half-way
would be completed from a sampler seeded afresh, with the same random numbers again for other layers. Here all of a
point's parameters are drawn at once, always in the same order, so asking again gives the same point.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from models.seeds import derive
from search.sampler_settings import CMAES, GP, NSGA2, QMC, TPE, RandomSampler
from search.sobol import Sobol
from search.spec import JobSpec
from search.steps import Step


def sampler(spec: JobSpec, ordinal: int, step: Step) -> BaseSampler:
    """The sampler of one trial. Its seed depends on the ordinal: workers that share a seed propose the same points.

    step  that it belongs to: a sampler learns from the trials of its own step

    TPE is multivariate for one objective and, as Optuna's own default, independent for several. TPE and GP know of
    trials still running elsewhere. What CMA-ES cannot vary (what is no number) is left to chance. A job has one Sobol'
    sequence, of which a trial takes the point of its ordinal.
    """
    seed = derive(spec.seed, "sampler", ordinal) % 2**32
    random_trials = max(step.trials // 3, len(step.given), 1)
    match spec.search.sampler:
        case TPE():
            several = len(spec.search.objectives) > 1
            return TPESampler(seed=seed, n_startup_trials=random_trials, multivariate=not several, constant_liar=True)
        case GP():
            return GPSampler(seed=seed, n_startup_trials=random_trials, warn_independent_sampling=False)
        case NSGA2() as nsga2:
            return NSGAIISampler(seed=seed, population_size=nsga2.size(step.trials))
        case CMAES():
            return CmaEsSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
        case QMC():
            number = ordinal - step.first - len(step.given)
            if number < 0:  # in place of a start that the space does not contain: the point after all others
                number = step.trials - len(step.given)
            return Sobol(derive(spec.seed, "sampler") % 2**32, number, step.distributions)
        case RandomSampler():
            return optuna.samplers.RandomSampler(seed=seed)


class Whole(optuna.Study):
    """A study as a sampler sees it: the trials that have every one of these parameters.

    A trial whose worker died while asking keeps what the sampler had noted, and would repel itself.
    """

    def __init__(self, study: optuna.Study, names: Iterable[str]) -> None:
        self.__dict__.update(study.__dict__)
        self._names = frozenset(names)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        found = super()._get_trials(deepcopy, states, use_cache)
        return [each for each in found if self._names <= each.params.keys()]


class Drawn(BaseSampler):
    """All parameters of a point from another sampler, in one go."""

    def __init__(self, source: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> None:
        self._source = source
        self._distributions = distributions

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        seen = Whole(study, search_space)
        joint = self._source.infer_relative_search_space(seen, trial)
        drawn = self._source.sample_relative(seen, trial, joint)
        return {
            name: drawn[name] if name in drawn else self._source.sample_independent(seen, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"{param_name} is not a parameter of this job")


class Given(BaseSampler):
    """A point known beforehand; a sampler that keeps generations counts it among the first of them."""

    def __init__(
        self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], source: BaseSampler
    ) -> None:
        self._params = params
        self._distributions = distributions
        self._source = source

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if isinstance(self._source, NSGAIISampler):
            self._source.get_trial_generation(Whole(study, search_space), trial)
        return dict(self._params)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"the start does not lie in the space: {param_name} = {self._params.get(param_name)}")
