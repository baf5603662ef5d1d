"""The dense arms get tuned too: each takes, of the settings on the shortlist, those that suit it best.

A search over settings beside densities finds what suits the sparse winner. Dense networks that had to learn with that
winner's learning rate would be beaten by it and not by sparsity.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.networks import AnyNetwork
from models.recipe import Training
from search import objectives
from search.candidates import Candidate
from search.capacity import same_capacity
from search.choices import Regime
from search.points import Finished
from search.problem import Problem
from search.regimes import applied
from search.spec import Arm, JobSpec


@dataclass(frozen=True)
class Tuned:
    """A dense arm with one of the shortlist's settings. values: on the validation part, by seed, of complete runs."""

    arm: Arm
    regime: Regime
    values: tuple[float, ...]
    failed: int

    @property
    def score(self) -> float:
        """Mean - 1 sd, as of the sparse candidates."""
        return statistics.fmean(self.values) - (statistics.stdev(self.values) if len(self.values) > 1 else 0.0)


def dense_network(arm: Arm, spec: JobSpec, problem: Problem, regime: Regime, weights: int) -> AnyNetwork | None:
    """The network of a dense arm; None where no network of that depth has at most `weights` weights."""
    network = applied(spec, regime).network
    return network if arm == "dense" else same_capacity(network, problem.input_shape, problem.classes, weights)


def contenders(
    spec: JobSpec, problem: Problem, candidates: Sequence[Candidate]
) -> dict[str, tuple[Arm, Regime, AnyNetwork]]:
    """What runs beside the shortlist, by label; nothing where all candidates' settings are one to a dense network.

    `same_capacity` is as large as the first candidate: how large the winner is only the shortlist itself will tell.
    """
    assert spec.confirm is not None
    regimes = _different(spec, candidates)
    if len(regimes) < 2:
        return {}
    found: dict[str, tuple[Arm, Regime, AnyNetwork]] = {}
    for arm in ("dense", "same_capacity"):
        if arm in spec.confirm.arms:
            for number, regime in enumerate(regimes):
                network = dense_network(arm, spec, problem, regime, candidates[0].weights)
                if network is not None:
                    found[f"{arm}:{number}"] = (arm, regime, network)
    return found


def results(
    spec: JobSpec, problem: Problem, candidates: Sequence[Candidate], shortlisted: Sequence[Finished]
) -> list[Tuned]:
    """In the order of the shortlist's candidates, each arm with each of the settings that gave an outcome."""
    found = []
    for label, (arm, regime, _) in contenders(spec, problem, candidates).items():
        runs = [each for each in shortlisted if each.assignment.label == label]
        values = tuple(getattr(each.outcome, objectives.measure(spec)) for each in runs if each.outcome is not None)
        if values:
            found.append(Tuned(arm, regime, values, len(runs) - len(values)))
    return found


def best(tuned: Sequence[Tuned]) -> Mapping[str, Regime]:
    """By arm, the settings with the best score; those of which a run failed come last."""
    ranked = sorted(tuned, key=lambda each: (each.failed == 0, each.score))
    return {each.arm: each.regime for each in ranked}


def _different(spec: JobSpec, candidates: Sequence[Candidate]) -> list[Regime]:
    # Where connections start and how they move means nothing to a network that has them all.
    first: dict[tuple[AnyNetwork, Training], Regime] = {}
    for each in candidates:
        varied = applied(spec, each.regime)
        first.setdefault((varied.network, varied.training), each.regime)
    return list(first.values())
