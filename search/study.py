"""The search as Optuna sees it: ask by ordinal, tell by number, both as often as one likes."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from models.seeds import derive
from search import objectives, sc_sdc
from search.capacity import prunable
from search.points import Assignment, Outcome
from search.problem import Problem
from search.regimes import applied, regime_of
from search.samplers import Drawn, Given, sampler
from search.sc_sdc_setting import ScSdc
from search.space import counts, distributions_of, ratios
from search.spec import JobSpec
from search.steps import Step, awaits_pruning, step

# A worker tells its own story of a trial; Optuna's, on standard error, would repeat it.
optuna.logging.set_verbosity(optuna.logging.WARNING)

State = Literal["complete", "pruned", "failed", "running"]
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


CENTRE = "centre"
"""What a trial of the second of two steps notes: the log-ratios to ERK that its own are relative to."""


class TrialRecord(NamedTuple):
    """What Optuna keeps of a trial; values are the job's objectives, in its order."""

    number: int
    ordinal: int
    state: State
    params: dict[str, Any]
    values: list[float] | None


def create(storage: BaseStorage, study_name: str, spec: JobSpec) -> int:
    """Optuna's id of the job's study, created unless it is there."""
    study = optuna.create_study(
        storage=storage,
        study_name=study_name,
        directions=objectives.directions(spec),
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )
    study_id = study._study_id
    # Study.set_metric_names does just this, but warns that it is experimental.
    storage.set_study_system_attr(study_id, "study:metric_names", list(spec.search.objectives))
    return study_id


class Asked:
    """The trial of a slot on the way to its point: `begin`, then `draw`, which may take long, then `settle`.

    `begin` and `settle` write, and are short: whoever must be alone when they write need not be while they think.
    """

    def __init__(
        self, spec: JobSpec, problem: Problem, ordinal: int, own: Step, study: optuna.Study, trial: FrozenTrial
    ) -> None:
        self._spec, self._problem, self._ordinal = spec, problem, ordinal
        self._study, self._trial = study, trial
        self._step = own
        self._label, self._space, study.sampler = self._source()
        self._drawing: optuna.trial.Trial | None = None

    @classmethod
    def begin(cls, storage: BaseStorage, study_name: str, spec: JobSpec, problem: Problem, ordinal: int) -> "Asked":
        """With the trial found or made. Raises: LookupError for the start of a pruning run that is yet to be trained"""
        if awaits_pruning(spec, problem, ordinal):
            raise LookupError("the pruning run that this start has its counts from is yet to be trained")
        study = optuna.load_study(study_name=study_name, storage=storage, sampler=optuna.samplers.RandomSampler())
        storage = study._storage  # an RDBStorage goes behind a cache, which knows only the trials met through it
        own, trial = step(spec, problem, ordinal), _find(storage, study._study_id, ordinal)
        if trial is None:
            noted = {}
            if own.centred:
                noted[CENTRE] = _best_ratios(storage, study._study_id, spec, problem, own.first)
            trial = _create(storage, study._study_id, ordinal, noted)
        return cls(spec, problem, ordinal, own, study, trial)

    def draw(self) -> None:
        """Has the sampler think. `settle` writes what it finds; a trial that has its parameters already keeps them."""
        if isinstance(self._spec.search.space, ScSdc):
            return
        self._drawing = optuna.trial.Trial(self._study, self._trial._trial_id)
        if not self._space.keys() <= self._trial.params.keys():
            _ = self._drawing.relative_params  # drawn here, not at the first of the parameters that `settle` writes

    def settle(self) -> tuple[int, Assignment]:
        """Optuna's number of the trial, and what to train."""
        spec, problem, ordinal, trial = self._spec, self._problem, self._ordinal, self._trial
        if isinstance(spec.search.space, ScSdc):
            shapes = problem.layers, problem.input_shape, problem.classes
            return trial.number, sc_sdc.assignment(spec, *shapes, ordinal, trial.number)
        assert self._drawing is not None, "drawn before"
        centre = _centre(self._study._storage, self._study._study_id) if self._step.centred else None
        params = {name: _drawn(self._drawing, name, each) for name, each in self._space.items()}
        regime = regime_of(spec, params)
        varied = applied(spec, regime)
        assignment = Assignment(
            stage="search",
            ordinal=ordinal,
            seed=derive(spec.seed, "trial", ordinal),
            label=self._label,
            trial=trial.number,
            network=varied.network,
            rewiring=varied.rewiring,
            counts=problem.dictated or counts(spec, problem.layers, params, centre),
            regime=regime,
        )
        return trial.number, assignment

    def _source(self) -> tuple[str, Mapping[str, BaseDistribution], BaseSampler]:
        """What the point is called, the space it lies in and who gives it."""
        own, source = self._step, sampler(self._spec, self._ordinal, self._step)
        start = own.given[self._ordinal] if self._ordinal < len(own.given) else None
        if start is None or start.params is None:
            return "sampled", own.distributions, Drawn(source, own.distributions)
        space = distributions_of(self._spec, self._problem.layers, start.params)
        return f"start:{start.name}", space, Given(start.params, space, source)


def ask(storage: BaseStorage, study_name: str, spec: JobSpec, problem: Problem, ordinal: int) -> tuple[int, Assignment]:
    """The trial with this ordinal (from 0): Optuna's number, and what to train.

    Found if it is there, with the parameters it has, created otherwise: a worker that died in here leaves nothing that
    asking again does not complete. Nothing goes through Optuna's queue, where another slot could pop it.

    Raises: LookupError for the start of a pruning run that is yet to be trained
    """
    asked = Asked.begin(storage, study_name, spec, problem, ordinal)
    asked.draw()
    return asked.settle()


def tell(
    storage: BaseStorage,
    study_name: str,
    spec: JobSpec,
    number: int,
    state: Literal["complete", "pruned", "failed"],
    outcome: Outcome | None,
) -> None:
    """Ends a trial; one that has ended stays as it is. `outcome` is that of a complete trial."""
    study = optuna.load_study(study_name=study_name, storage=storage, sampler=optuna.samplers.RandomSampler())
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    if storage.get_trial(trial_id).state.is_finished():
        return
    told = next(key for key, value in STATES.items() if value == state)
    values = objectives.values(spec, outcome) if outcome is not None and state == "complete" else None
    try:
        if outcome is not None:
            for name, value in _shown(outcome).items():
                storage.set_trial_user_attr(trial_id, name, value)
        study.tell(number, values, state=told, skip_if_finished=True)
    except UpdateFinishedTrialError:
        pass  # somebody else, who swept up after a worker thought dead, has told the same meanwhile


def abandon(storage: BaseStorage, study_name: str, ordinal: int) -> int:
    """Optuna's number of the trial with this ordinal, made without a point unless it is there.

    For a slot that failed before anyone asked for it: it was one of the trials asked for, and has to be told.
    """
    study_id = storage.get_study_id_from_name(study_name)
    return (_find(storage, study_id, ordinal) or _create(storage, study_id, ordinal, {})).number


def trials(storage: BaseStorage, study_name: str) -> list[TrialRecord]:
    """The job's trials by ordinal."""
    study_id = storage.get_study_id_from_name(study_name)
    first: dict[int, TrialRecord] = {}
    for trial in storage.get_all_trials(study_id, deepcopy=False):
        ordinal = trial.user_attrs["ordinal"]
        record = TrialRecord(trial.number, ordinal, STATES[trial.state], dict(trial.params), trial.values)
        first.setdefault(ordinal, record)
    return [first[ordinal] for ordinal in sorted(first)]


def _find(storage: BaseStorage, study_id: int, ordinal: int) -> FrozenTrial | None:
    same = [t for t in storage.get_all_trials(study_id, deepcopy=False) if t.user_attrs.get("ordinal") == ordinal]
    return min(same, key=lambda trial: trial.number, default=None)


def _create(storage: BaseStorage, study_id: int, ordinal: int, noted: Mapping[str, Any]) -> FrozenTrial:
    # One transaction writes trial and ordinal together: no crash leaves a trial that belongs to no slot.
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"ordinal": ordinal, **noted})
    trial_id = storage.create_new_trial(study_id, template)
    found = _find(storage, study_id, ordinal)
    assert found is not None
    if found._trial_id != trial_id:
        # A worker thought dead asked for the same slot: the lower number is the slot's, and this one is nobody's.
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    return found


def _best_ratios(storage: BaseStorage, study_id: int, spec: JobSpec, problem: Problem, first: int) -> list[float]:
    """The best complete trial before the ordinal `first`, as log-ratios to ERK; ERK itself where there is none."""
    name = objectives.ranked_by(spec)
    sign = 1 if objectives.DIRECTIONS[name] == "minimize" else -1
    complete = [
        trial
        for trial in storage.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.user_attrs["ordinal"] < first
    ]
    best = min(complete, key=lambda trial: (sign * trial.user_attrs[name], trial.number), default=None)
    if best is None:
        return [0.0] * len(prunable(spec.network, problem.layers))
    return ratios(spec, problem.layers, best.params, None)


def _centre(storage: BaseStorage, study_id: int) -> list[float]:
    """Around what the second step searches: what the first of its trials to be created had noted.

    Its trials may be asked for while the first step still trains, or at once by two workers: all have this one.
    """
    noted = [trial for trial in storage.get_all_trials(study_id, deepcopy=False) if CENTRE in trial.user_attrs]
    found: list[float] = min(noted, key=lambda trial: trial.number).user_attrs[CENTRE]
    return found


def _drawn(asked: optuna.trial.Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log):
            return asked.suggest_float(name, low, high, log=log)
        case CategoricalDistribution(choices=choices):
            return asked.suggest_categorical(name, choices)
    raise AssertionError(f"{name} is drawn from neither a range nor a list: {distribution}")


def _shown(outcome: Outcome) -> dict[str, Any]:
    """What the dashboard shows beside a trial; kept small, as every sampler reads all of it with every trial."""
    names = (
        "loss",
        "accuracy",
        "balanced_accuracy",
        "weights",
        "macs",
        "flops",
        "latency",
        "egf_1",
        "egf_2",
        "seconds",
    )
    return {name: getattr(outcome, name) for name in names}
