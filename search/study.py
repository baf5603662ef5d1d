"""The search as Optuna sees it: ask by ordinal, tell by number, both as often as one likes."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from models.seeds import derive
from search import objectives, sc_sdc
from search.points import Assignment, Outcome
from search.problem import Problem
from search.samplers import Drawn, Given, sampler
from search.sc_sdc_setting import ScSdc
from search.space import counts, distributions
from search.spec import JobSpec
from search.starts import starts

# A worker tells its own story of a trial; Optuna's, on standard error, would repeat it.
optuna.logging.set_verbosity(optuna.logging.WARNING)

State = Literal["complete", "pruned", "failed", "running"]
STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


class TrialRecord(NamedTuple):
    """What Optuna keeps of a trial; values are the job's objectives, in its order."""

    number: int
    ordinal: int
    state: State
    params: dict[str, float]
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


def ask(storage: BaseStorage, study_name: str, spec: JobSpec, problem: Problem, ordinal: int) -> tuple[int, Assignment]:
    """The trial with this ordinal (from 0): Optuna's number, and what to train.

    Found if it is there, with the parameters it has, created otherwise: a worker that died in here leaves nothing that
    asking again does not complete. Nothing goes through Optuna's queue, where another slot could pop it.
    """
    space = distributions(spec, problem.layers)
    given = starts(spec, problem.layers)[: spec.search.trials]
    source: BaseSampler
    if ordinal < len(given):
        label, source = f"start:{given[ordinal].name}", Given(given[ordinal].params, space)
    else:
        label, source = "sampled", Drawn(sampler(spec, ordinal, len(given)), space)
    study = optuna.load_study(study_name=study_name, storage=storage, sampler=source)
    storage = study._storage  # an RDBStorage goes behind a cache, which knows only the trials met through it
    trial = _find(storage, study._study_id, ordinal) or _create(storage, study._study_id, ordinal)
    if isinstance(spec.search.space, ScSdc):
        shapes = problem.layers, problem.input_shape, problem.classes
        return trial.number, sc_sdc.assignment(spec, *shapes, ordinal, trial.number)
    params = _suggest(study, trial, space)
    assignment = Assignment(
        stage="search",
        ordinal=ordinal,
        seed=derive(spec.seed, "trial", ordinal),
        label=label,
        trial=trial.number,
        network=spec.network,
        rewiring=spec.rewiring,
        counts=problem.dictated or counts(spec, problem.layers, params),
    )
    return trial.number, assignment


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
    if outcome is not None:
        for name, value in _shown(outcome).items():
            storage.set_trial_user_attr(trial_id, name, value)
    told = next(key for key, value in STATES.items() if value == state)
    values = objectives.values(spec, outcome) if outcome is not None and state == "complete" else None
    study.tell(number, values, state=told, skip_if_finished=True)


def abandon(storage: BaseStorage, study_name: str, ordinal: int) -> int:
    """Optuna's number of the trial with this ordinal, made without a point unless it is there.

    For a slot that failed before anyone asked for it: it was one of the trials asked for, and has to be told.
    """
    study_id = storage.get_study_id_from_name(study_name)
    return (_find(storage, study_id, ordinal) or _create(storage, study_id, ordinal)).number


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


def _create(storage: BaseStorage, study_id: int, ordinal: int) -> FrozenTrial:
    # One transaction writes trial and ordinal together: no crash leaves a trial that belongs to no slot.
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"ordinal": ordinal})
    trial_id = storage.create_new_trial(study_id, template)
    found = _find(storage, study_id, ordinal)
    assert found is not None
    if found._trial_id != trial_id:
        # A worker thought dead asked for the same slot: the lower number is the slot's, and this one is nobody's.
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    return found


def _suggest(study: optuna.Study, trial: FrozenTrial, space: Mapping[str, FloatDistribution]) -> dict[str, float]:
    asked = optuna.trial.Trial(study, trial._trial_id)
    return {name: asked.suggest_float(name, each.low, each.high, log=each.log) for name, each in space.items()}


def _shown(outcome: Outcome) -> dict[str, Any]:
    """What the dashboard shows beside a trial; kept small, as every sampler reads all of it with every trial."""
    names = ("loss", "accuracy", "balanced_accuracy", "weights", "macs", "egf_1", "egf_2", "seconds")
    return {name: getattr(outcome, name) for name in names}
