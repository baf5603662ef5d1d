"""The JobSpec: the JSON a user writes is the type that every part of the program reads. Validated once, frozen."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Interval, MaxLen, MinLen
from pydantic import Field, TypeAdapter, ValidationError

from models.data import AnyData
from models.measures import AnyMeasure
from models.networks import MLP, AnyNetwork
from models.recipe import Training
from models.retraining import Retraining
from models.rewiring import SET, AnyRewiring
from models.topologies import AnyTopology, Random
from models.types import ByKind, Count, Density, Positive, setting
from search.choices import AnyChoices, Choices
from search.faults import InvalidSpec, faults
from search.sampler_settings import CMAES, NSGA2, TPE, AnySampler
from search.sc_sdc_setting import ScSdc

Objective = Literal["loss", "accuracy", "balanced_accuracy", "perplexity", "weights", "macs", "flops", "latency", "egf"]
StartName = Literal[
    "erk", "erk_dense_output", "erk_positions", "uniform", "dense", "snip", "grasp", "synflow", "gradual"
]
SCORES: tuple[StartName, ...] = ("snip", "grasp", "synflow")
EarlierJob = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Arm = Literal["dense", "same_capacity", "uniform", "erk", "random"]
ARMS: tuple[Arm, ...] = ("dense", "same_capacity", "uniform", "erk", "random")


@setting
class Free:
    """One density per prunable tensor, each in [low, high]."""

    kind: Literal["free"] = "free"
    low: Density = 0.01
    high: Density = 1.0
    scale: Literal["log", "linear"] = "log"

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} is not allowed; it must be less than high ({self.high})")


@setting
class Budget:
    """An exact total of active weights, given as a number or as a share of the dense network's.

    window        the largest log-ratio of a layer's density to its start, e-folds; 2 around ERK
    steps         two: first the network's shape, by two numbers, then each layer within ±1 of the best of these points
    shape_trials  of the first step; None: half of the trials, at most 14
    """

    kind: Literal["budget"] = "budget"
    weights: Count | None = None
    density: Density | None = None
    window: Positive = 2.0
    steps: Literal["one", "two"] = "one"
    shape_trials: Count | None = None

    def __post_init__(self) -> None:
        if (self.weights is None) == (self.density is None):
            raise ValueError("a budget takes either weights (an exact total) or density (a share), not both or neither")
        if self.shape_trials is not None and self.steps == "one":
            raise ValueError(f"shape_trials: {self.shape_trials} is not allowed with one step; set steps to two")

    def total(self, dense: int) -> int:
        """The exact total of active weights, of a network that has `dense` weights in all."""
        if self.weights is not None:
            return self.weights
        assert self.density is not None
        return round(self.density * dense)

    def first_step(self, trials: int) -> int:
        """Trials of the first of two steps."""
        return min(14, trials // 2) if self.shape_trials is None else self.shape_trials


@setting
class Dictated:
    """One point alone: the counts that the topology dictates. Trials differ by their seeds."""

    kind: Literal["dictated"] = "dictated"


@setting
class Halving:
    """At the share `from` of the epochs the better half goes on; nothing is stopped before.

    by  what decides: held-out loss, or effective gradient flow at the first epoch from there that measures it
    """

    kind: Literal["halving"] = "halving"
    from_: Annotated[float, Interval(gt=0, lt=1), Field(alias="from")] = 0.4
    by: Literal["loss", "egf_1"] = "loss"


AnySpace = Annotated[Free | Budget | Dictated | ScSdc, ByKind()]


@setting
class Search:
    """What is searched, and how long.

    max_failed  more failed trials than that end the job
    starts      the first points, in their order; None: every allocation set by hand that the space contains
    warm_start  ids of jobs whose best networks are tried before these
    """

    space: AnySpace = Free()
    objectives: Annotated[tuple[Objective, ...], MinLen(1), MaxLen(3)] = ("loss",)
    sampler: AnySampler = TPE()
    trials: Annotated[int, Interval(ge=1, le=10_000)] = 32
    max_parallel: Annotated[int, Interval(ge=1, le=10_000)] | None = None
    max_failed: Annotated[int, Interval(ge=0, le=10_000)] | None = None
    max_minutes: Annotated[float, Interval(gt=0, le=525_600)] | None = None
    stopping: Halving | None = None
    choices: AnyChoices = Choices()
    starts: tuple[StartName, ...] | None = None
    warm_start: Annotated[tuple[EarlierJob, ...], MaxLen(8)] = ()

    def __post_init__(self) -> None:
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError(f"objectives: {list(self.objectives)} names one twice")
        if isinstance(self.space, Budget) and "weights" in self.objectives:
            raise ValueError(
                "objectives: weights is not allowed with a budget, which fixes the total of active weights"
            )
        if isinstance(self.space, Dictated) and {"weights", "macs", "flops"}.intersection(self.objectives):
            raise ValueError(
                "objectives: weights, macs and flops are not allowed with dictated densities, the same in every trial"
            )
        if isinstance(self.space, ScSdc):
            self._check_comparison(self.space)
        self._check_starts(self.starts or ())
        self._check_warm_start()
        if isinstance(self.space, Budget) and self.space.steps == "two":
            self._check_steps(self.space)
        if isinstance(self.sampler, CMAES) and len(self.objectives) > 1:
            raise ValueError(
                f"sampler: cma_es is not allowed with {len(self.objectives)} objectives, it ranks points by one; "
                "nsga2, tpe, gp, qmc and random take several"
            )

    def _check_starts(self, names: tuple[StartName, ...]) -> None:
        if len(set(names)) < len(names):
            raise ValueError(f"starts: {list(names)} names one twice")
        if names and isinstance(self.space, Dictated):
            raise ValueError(f"starts: {list(names)} is not allowed with dictated densities, which are the only point")
        scores = [name for name in names if name in SCORES]
        if scores and not isinstance(self.space, Budget):
            raise ValueError(f"starts: {scores[0]} is not allowed without a budget: scores share out an exact total")
        if "gradual" in names and not isinstance(self.space, Budget):
            raise ValueError("starts: gradual is not allowed without a budget: a pruning run ends with an exact total")

    def _check_warm_start(self) -> None:
        if len(set(self.warm_start)) < len(self.warm_start):
            raise ValueError(f"warm_start: {list(self.warm_start)} names one twice")
        if self.warm_start and not isinstance(self.space, Free | Budget):
            raise ValueError(
                f"warm_start is not allowed with {self.space.kind}, which has no points to choose; free and budget have"
            )

    def _check_steps(self, space: Budget) -> None:
        if space.shape_trials is not None and space.shape_trials >= self.trials:
            raise ValueError(
                f"space.shape_trials: {space.shape_trials} is not allowed; it must be less than trials ({self.trials})"
            )
        if isinstance(self.sampler, NSGA2):
            raise ValueError("sampler: nsga2 is not allowed with two steps, which are too short for generations")

    def _check_comparison(self, space: ScSdc) -> None:
        runs = len(space.points())
        if self.trials != runs:
            raise ValueError(f"trials: {self.trials} is not allowed; this comparison has {runs} trainings")
        if self.stopping is not None:
            raise ValueError("stopping is not allowed with sc_sdc, which trains every network to its end")
        if self.choices or self.starts:
            raise ValueError("choices and starts are not allowed with sc_sdc, whose networks are all given")


@setting
class Best:
    kind: Literal["best"] = "best"


@setting
class SmallestWithin:
    """The smallest network whose accuracy is within `points` percentage points of the best."""

    kind: Literal["smallest_within"]
    points: Positive


@setting
class ChosenTrial:
    kind: Literal["trial"]
    trial: Annotated[int, Interval(ge=0)]


@setting
class Confirm:
    """choose: which trials are shortlisted; seeds: fresh ones, of each arm, in the final comparison."""

    choose: Annotated[Best | SmallestWithin | ChosenTrial, ByKind()] = Best()
    shortlist: Annotated[int, Interval(ge=1, le=1000)] = 4
    shortlist_seeds: Annotated[int, Interval(ge=2, le=1000)] = 3
    seeds: Annotated[int, Interval(ge=2, le=1000)] = 8
    arms: tuple[Arm, ...] = ARMS


@setting
class JobSpec:
    """measures: taken of each network at the end of its training; none by default."""

    name: Annotated[str, MinLen(1), MaxLen(120), Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
    data: AnyData
    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 0
    priority: Annotated[int, Interval(ge=-1000, le=1000)] = 0
    network: AnyNetwork = MLP()
    topology: AnyTopology = Random()
    rewiring: AnyRewiring = SET()
    retraining: Retraining | None = None
    training: Training = Training()
    search: Search = Search()
    confirm: Confirm | None = Confirm()
    measures: tuple[AnyMeasure, ...] = ()

    def __post_init__(self) -> None:
        kinds = [measure.kind for measure in self.measures]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"measures: {kinds} names one twice")
        if isinstance(self.search.space, ScSdc) and self.confirm is not None:
            raise ValueError("confirm is not allowed with sc_sdc, which chooses nothing; it must be null")
        if isinstance(self.search.space, ScSdc) and self.retraining is not None:
            raise ValueError("retraining is not allowed with sc_sdc, which compares single trainings; it must be null")


_ADAPTER: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


def parse(value: Mapping[str, Any]) -> JobSpec:
    """The job described by a JSON object. Raises: InvalidSpec."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise InvalidSpec(faults(error, value, JobSpec)) from None


def dump(spec: JobSpec) -> dict[str, Any]:
    """The JSON object of a job, every default written out."""
    result: dict[str, Any] = json.loads(_ADAPTER.dump_json(spec, by_alias=True))
    return result


def json_schema() -> dict[str, Any]:
    return _ADAPTER.json_schema()
