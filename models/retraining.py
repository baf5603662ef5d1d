"""Training on the structure that a training found: the same connections again, from other or earlier weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from torch import Tensor

from models.connections import places
from models.data.samples import Split
from models.layers import SparseLayer, sparse_layers
from models.networks import AnyNetwork
from models.probe import GradientFlow
from models.recipe import Training
from models.rewiring import AnyRewiring, Static
from models.seeds import derive
from models.topologies import AnyTopology
from models.training import EpochReport, Evaluate, Plan, Run, start
from models.types import Density, setting


@setting
class Retraining:
    """Trains to find the connections, then trains these alone, static, with the whole recipe from its first step.

    weights    of the second training: "rewind": the first's initial ones (the lottery ticket, Frankle and Carbin 2019);
               "fresh": newly drawn for these connections (Alford et al. 2018); "keep": as the first left them (learning
               rate rewinding, Renda et al. 2020)
    per_round  share of each layer's connections that a round of finding removes, 1: all at once. The rounds go on until
               no more than asked are left, each a whole training from weights like those of the last one. .2 is the
               lottery tickets' own
    """

    weights: Literal["rewind", "fresh", "keep"] = "rewind"
    per_round: Density = 1.0


@dataclass(frozen=True)
class Course:
    """What is decided before the first step.

    rounds    connections of each layer after each training that finds
    first     of the first training
    evaluate  the last one
    """

    retraining: Retraining
    rounds: tuple[tuple[int, ...], ...]
    first: Plan
    evaluate: Evaluate

    @property
    def trainings(self) -> int:
        return len(self.rounds) + 1


class Retrained:
    """Whole trainings, one after the other; the last is that of the structure found.

    initial  weights, connections and all else that the first training began with
    number   of the training in progress, from 0; `run` is that training
    reports  of the epochs of all trainings, numbered through: what the result has cost
    """

    def __init__(self, course: Course, initial: dict[str, Tensor], run: Run) -> None:
        """At the beginning, `run` being the first training; `start_retraining` makes these."""
        self.course, self.initial, self.run = course, initial, run
        self.number = 0
        self.reports: list[EpochReport] = []

    @property
    def layers(self) -> dict[str, SparseLayer]:
        return self.run.layers

    @property
    def gradient_flow(self) -> list[GradientFlow]:
        """Of the training in progress."""
        return self.run.gradient_flow

    def train(self) -> Iterator[EpochReport]:
        """The remaining epochs of all trainings, each once it is done. Raises: as `Run.train`."""
        while True:
            for report in self.run.train():
                self.reports.append(replace(report, epoch=len(self.reports) + 1))
                yield self.reports[-1]
            if self.number + 1 == self.course.trainings:
                return
            self.number, self.run = self.number + 1, self._next()

    def _next(self) -> Run:
        number, before = self.number + 1, self.run
        found = [layer.connections for layer in before.layers.values()]
        plan = replace(before.plan, seed=derive(self.course.first.seed, "retraining", number))
        if number + 1 == self.course.trainings:
            counts = tuple(each.nnz for each in found)
            plan = replace(plan, rewiring=Static(), counts=counts, evaluate=self.course.evaluate)
        else:
            plan = replace(plan, counts=self.course.rounds[number])
        run = Run(plan, found, before.split)
        match self.course.retraining.weights:
            case "rewind":
                _give(run, self.initial)
            case "keep":
                _give(run, _weights(before))
        return run


def start_retraining(
    retraining: Retraining,
    network: AnyNetwork,
    counts: Sequence[int],
    topology: AnyTopology,
    rewiring: AnyRewiring,
    training: Training,
    split: Split,
    seed: int,
    evaluate: Evaluate = "every_epoch",
    data_dir: Path | None = None,
) -> Retrained:
    """As `training.start`. What is evaluated at the end is, of all trainings, the last one alone."""
    totals = tuple(layer.total for layer in network.layers(split.input_shape, split.classes))
    rounds = counts_by_round(retraining.per_round, rewiring.starting(totals, tuple(counts)), counts)
    finding: Evaluate = "never" if evaluate == "end" else evaluate
    run = start(network, rounds[0], topology, rewiring, training, split, seed, finding, data_dir=data_dir)
    return Retrained(Course(retraining, rounds, run.plan, evaluate), _weights(run), run)


def counts_by_round(per_round: float, starting: Sequence[int], asked: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Connections of each layer after each round: the share is removed, but no more than leaves those asked."""
    stays = 1 - Fraction(str(per_round))
    before, rounds = tuple(starting), list[tuple[int, ...]]()
    while not rounds or rounds[-1] != tuple(asked):
        before = tuple(max(int(stays * count), last) for count, last in zip(before, asked, strict=True))
        rounds.append(before)
    return tuple(rounds)


def _weights(run: Run) -> dict[str, Tensor]:
    """Copies of all that a network has learned or counted, and of where its connections are."""
    return {name: tensor.detach().clone() for name, tensor in run.network.state_dict().items()}


def _give(run: Run, weights: dict[str, Tensor]) -> None:
    """The weights to a network all of whose connections they hold."""
    given = dict(weights)
    for name, layer in sparse_layers(run.network).items():
        active = layer.connections.positions
        given[f"{name}.values"] = weights[f"{name}.values"][places(weights[f"{name}.positions"], active)]
        given[f"{name}.positions"] = active
    run.network.load_state_dict(given)
