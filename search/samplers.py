"""Where the next point comes from: a start given by hand, TPE or chance. Every point is drawn in one go.

Optuna stores a trial's parameters one after another. Drawn one after another too, a point whose worker died half-way
would be completed from a sampler seeded afresh, with the same random numbers again for other layers. Here all of a
point's parameters are drawn at once, always in the same order, so asking again gives the same point.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from models.seeds import derive
from search.spec import TPE, JobSpec, RandomSampler


def sampler(spec: JobSpec, ordinal: int, starts: int) -> BaseSampler:
    """The sampler of one trial. Its seed depends on the ordinal: workers that share a seed propose the same points.

    starts  how many trials of the job are given by hand

    TPE is multivariate for one objective and, as Optuna's own default, independent for several. It knows of trials
    still running elsewhere (constant liar).
    """
    seed = derive(spec.seed, "sampler", ordinal) % 2**32
    match spec.search.sampler:
        case TPE():
            return TPESampler(
                seed=seed,
                n_startup_trials=max(spec.search.trials // 3, starts, 1),
                multivariate=len(spec.search.objectives) == 1,
                constant_liar=True,
            )
        case RandomSampler():
            return optuna.samplers.RandomSampler(seed=seed)


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
        joint = self._source.infer_relative_search_space(study, trial)
        drawn = self._source.sample_relative(study, trial, joint)
        return {
            name: drawn[name] if name in drawn else self._source.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"{param_name} is not a parameter of this job")


class Given(BaseSampler):
    """A point known beforehand."""

    def __init__(self, params: Mapping[str, float], distributions: Mapping[str, BaseDistribution]) -> None:
        self._params = params
        self._distributions = distributions

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(self._params)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise AssertionError(f"the start does not lie in the space: {param_name} = {self._params.get(param_name)}")
