"""What is left in the middle and gone on with ends as what was never left, outcome and measures included."""

from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job

from models.training import EpochReport
from search import resumable, study, trials
from search.points import Assignment, Outcome
from search.problem import examine
from search.resumable import CheckpointError, Resumable
from search.spec import JobSpec, dump

RETRAINED = {"rewiring": {"kind": "one_shot", "at": 1.0}, "retraining": {"weights": "rewind", "per_round": 0.5}}
MEASURED = {"measures": [{"kind": "topology"}, {"kind": "gap"}]}


def asked(**changes: Any) -> tuple[JobSpec, Assignment, str]:
    spec = job(
        {"space": {"kind": "budget", "density": 0.1}},
        data={"kind": "bundled", "name": "digits", "limit": 300},
        network={"kind": "mlp", "widths": [20, 12]},
        training={"epochs": 4, "batch_size": 32},
        **changes,
    )
    problem, storage = examine(spec, None), InMemoryStorage()
    study.create(storage, "study", spec)
    return spec, study.ask(storage, "study", spec, problem, 0)[1], problem.data_hash


def without_clock(said: EpochReport | Outcome) -> Any:
    return asdict(replace(said, seconds=0.0))


def halves(tmp_path: Path, changes: dict[str, Any], epochs: int) -> list[Any]:
    spec, assignment, data_hash = asked(**changes)
    given = dump(spec), assignment.to_json(), None, data_hash
    first = Resumable(*given, left_at=None)
    said = list(islice(first.perform(), epochs))
    first.save(tmp_path / "left")
    second = Resumable(*given, left_at=tmp_path / "left")
    assert second.epochs == first.epochs == epochs
    kept = resumable.reports(tmp_path / "left", given[0], given[1], data_hash)
    assert kept == tuple(map(resumable.plain, said))
    return [*said, *second.perform()]


@pytest.mark.parametrize("changes", [MEASURED, RETRAINED], ids=["measured", "retrained"])
@pytest.mark.parametrize("epochs", [1, 4])
def test_what_was_left_ends_as_what_was_not(tmp_path: Path, changes: dict[str, Any], epochs: int) -> None:
    spec, assignment, data_hash = asked(**changes)
    whole = list(trials.perform(spec, assignment, None, data_hash))
    assert list(map(without_clock, halves(tmp_path, changes, epochs))) == list(map(without_clock, whole))


@pytest.mark.parametrize("other", ["spec", "assignment", "data"])
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, other: str) -> None:
    spec, assignment, data_hash = asked()
    training = Resumable(dump(spec), assignment.to_json(), None, data_hash, left_at=None)
    training.save(tmp_path / "left")
    given = {
        "spec": (dump(replace(spec, seed=9)), assignment.to_json(), data_hash),
        "assignment": (dump(spec), replace(assignment, seed=9).to_json(), data_hash),
        "data": (dump(spec), assignment.to_json(), "others"),
    }
    with pytest.raises(CheckpointError, match="it belongs to"):
        resumable.reports(tmp_path / "left", *given[other])


def test_a_checkpoint_that_has_gone_is_said_to(tmp_path: Path) -> None:
    spec, assignment, data_hash = asked()
    with pytest.raises(CheckpointError, match="it has gone"):
        Resumable(dump(spec), assignment.to_json(), None, data_hash, left_at=tmp_path / "left")
