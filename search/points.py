"""What travels between the search and whoever runs it: a point to train, and what came of it."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from pydantic import TypeAdapter

from models.networks import AnyNetwork
from models.recipe import Training
from models.rewiring import AnyRewiring
from models.topologies import AnyTopology
from models.types import StorageKind
from search.choices import Regime

Stage = Literal["search", "shortlist", "final"]


@dataclass(frozen=True)
class Assignment:
    """One network to train, everything about it decided.

    ordinal  number within its stage, from 0
    label    search: `start:<rule>` or `sampled`; shortlist: the candidate's; final: the arm's name
    trial    Optuna's number of the trial it is, or comes from
    counts   connections asked of each layer
    topology where they start; None for the job's
    regime   the settings that the search chose beside densities; network and rewiring are already varied by it
    training how, where it is not as the job says
    fan_in   of each layer, the inputs that its first weights are scaled for; None: those that each unit has
    """

    stage: Stage
    ordinal: int
    seed: int
    label: str
    trial: int | None
    network: AnyNetwork
    rewiring: AnyRewiring
    counts: tuple[int, ...]
    topology: AnyTopology | None = None
    regime: Regime = ()
    training: Training | None = None
    fan_in: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = _ASSIGNMENT.dump_python(self, mode="json", by_alias=True)
        return result

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Assignment":
        return _ASSIGNMENT.validate_python(value)


_PER_LAYER = ("nnz", "nnz_asked", "storage")


@dataclass(frozen=True)
class Outcome:
    """What one whole training gave; every number measured, none taken from what was asked but `nnz_asked`.

    loss, accuracy, balanced_accuracy  on the validation part, in the final stage on the test part; shares in [0, 1]
    nnz          connections of each layer, counted in the live network after training
    macs, flops  multiply-adds per sample, and operations as search.capacity counts them
    latency      seconds of one batch; only measured where it is an objective
    connections  hash over all layers' connections
    storage      of each layer, as the training ended
    egf_1, egf_2 mean effective gradient flow over the (at most 11) points measured, that before training included
    seconds, epochs  of all trainings that it took, those that found the connections included
    measures     what the job's further measures found, by their kind
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    weights: int
    macs: int
    nnz: tuple[int, ...]
    nnz_asked: tuple[int, ...]
    connections: str
    storage: tuple[StorageKind, ...]
    egf_1: float | None
    egf_2: float | None
    seconds: float
    epochs: int
    flops: int | None = None
    latency: float | None = None
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def perplexity(self) -> float:
        """exp(loss): of a text, among how many equally likely characters one would be as undecided."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {name: list(getattr(self, name)) for name in _PER_LAYER}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        return cls(**value | {name: tuple(value[name]) for name in _PER_LAYER})


EndedState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Finished:
    """One assignment that is over. number: Optuna's, of a search trial; curves: its epoch reports as JSON objects."""

    assignment: Assignment
    state: EndedState
    outcome: Outcome | None
    number: int | None
    curves: tuple[dict[str, Any], ...] = ()
    error: str | None = None

    @property
    def measured(self) -> Outcome:
        assert self.outcome is not None, "only a complete run was measured"
        return self.outcome


_ASSIGNMENT: TypeAdapter[Assignment] = TypeAdapter(Assignment)
