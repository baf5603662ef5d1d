"""A Sobol' sequence of which each trial takes the point of its own number."""

import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler
from optuna.trial import FrozenTrial

_EXPERIMENTAL = r"QMCSampler is experimental \(supported from v3\.0\.0\)\. The interface can change in the future\."


class Sobol(QMCSampler):
    """Optuna's counts the points in its study: asking again would give another one. Here the caller says which.

    seed    of the scrambling: all workers of a job need the same, or the sequence is no longer even
    number  of the point, from 0
    """

    def __init__(self, seed: int, number: int, distributions: Mapping[str, BaseDistribution]) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _EXPERIMENTAL, ExperimentalWarning)
            super().__init__(qmc_type="sobol", scramble=True, seed=seed)
        self._number = number
        self._distributions = distributions

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def _find_sample_id(self, study: optuna.Study, search_space: dict[str, BaseDistribution]) -> int:
        return self._number
