"""The contestants of the final: the winner, dense networks, and sparse ones set by hand or at random."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from models.networks import AnyNetwork
from models.rewiring import AnyRewiring, Static
from models.seeds import derive
from models.topologies import AnyTopology, Dictating, Random
from search.candidates import Candidate, at_capacity
from search.capacity import kept_weights, prunable, with_kept
from search.choices import Regime
from search.problem import Problem
from search.projection import project
from search.regimes import applied, layers_of
from search.space import floors, window
from search.spec import JobSpec
from search.tuning import dense_network


@dataclass(frozen=True)
class Contestant:
    """One arm.

    counts   of each layer, for each seed
    regime   its settings beside densities
    trial    Optuna's number of the trial that the winner comes from
    same_as  an earlier arm with the same networks: its runs are this one's
    topology of its own; None for the job's
    """

    name: str
    network: AnyNetwork
    rewiring: AnyRewiring
    counts: tuple[tuple[int, ...], ...]
    regime: Regime = ()
    trial: int | None = None
    same_as: str | None = None
    topology: AnyTopology | None = None


def contestants(
    spec: JobSpec,
    problem: Problem,
    winner: Candidate,
    start: Candidate | None,
    tuned: Mapping[str, Regime] = MappingProxyType({}),
) -> tuple[Contestant, ...]:
    """`snas`, the arms that the job names, and `start`, the best start if the winner is not one itself.

    Sparse arms have exactly the winner's weights, its topology, rewiring and recipe; a topology that dictates the
    counts cannot place others, so the arms beside the winner then start at random connections. `same_capacity` is left
    out where no dense network of that depth is small enough, a rule where it is not defined at that capacity.

    tuned  settings of the dense arms; the winner's where there are none of their own
    """
    found: list[Contestant] = []
    for arm in _distinct(spec, problem, winner, start, tuned):
        twin = next((each.name for each in found if _equal(each, arm) and each.same_as is None), None)
        found.append(replace(arm, same_as=twin))
    return tuple(found)


def _distinct(
    spec: JobSpec, problem: Problem, winner: Candidate, start: Candidate | None, tuned: Mapping[str, Regime]
) -> Iterator[Contestant]:
    assert spec.confirm is not None
    seeds, varied = spec.confirm.seeds, applied(spec, winner.regime)

    topology = Random() if isinstance(varied.topology, Dictating) else None

    def sparse(name: str, counts: tuple[int, ...]) -> Contestant:
        found = Contestant(name, varied.network, varied.rewiring, (counts,) * seeds, winner.regime)
        return replace(found, topology=topology)

    yield replace(sparse("snas", winner.counts), trial=winner.trial, topology=None)
    for name in dict.fromkeys(spec.confirm.arms):
        match name:
            case "dense" | "same_capacity":
                regime = tuned.get(name, winner.regime)
                if (network := dense_network(name, spec, problem, regime, winner.weights)) is not None:
                    yield replace(_dense(name, network, problem, seeds), regime=regime)
            case "uniform" | "erk":
                counts = at_capacity(name, spec, problem, winner.weights, winner.regime)
                assert counts is not None
                yield sparse(name, counts)
            case "random":
                counts_by_seed = tuple(_random(spec, problem, winner, k) for k in range(seeds))
                yield replace(sparse(name, winner.counts), counts=counts_by_seed)
    if start is not None:
        assert start.start is not None
        counts = at_capacity(start.start, spec, problem, winner.weights, winner.regime)
        if counts is not None:
            yield sparse("start", counts)


def _dense(name: str, network: AnyNetwork, problem: Problem, seeds: int) -> Contestant:
    full = tuple(layer.total for layer in network.layers(problem.input_shape, problem.classes))
    return Contestant(name, network, Static(), (full,) * seeds)


def _random(spec: JobSpec, problem: Problem, winner: Candidate, number: int) -> tuple[int, ...]:
    """Densities drawn as a random search would draw them: ratios to ERK, uniform in the window."""
    draw = random.Random(derive(spec.seed, "random arm", number))
    space = spec.search.space
    layers = layers_of(spec, problem.layers, winner.regime)
    searched = prunable(spec.network, layers)
    ratios = [draw.uniform(-window(space), window(space)) for _ in searched]
    rest = winner.weights - kept_weights(spec.network, layers)
    found = project(searched, ratios, rest, floors(space, searched))
    return with_kept(spec.network, layers, found)


def _equal(one: Contestant, other: Contestant) -> bool:
    return replace(one, name="", trial=None, same_as=None) == replace(other, name="", trial=None, same_as=None)
