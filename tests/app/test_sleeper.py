"""The trainer that only sleeps: everything about a run but its numbers."""

from collections.abc import Callable

import pytest
from by_hand import problem, spec
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import jobs, runs, worker
from app.settings import Settings
from app.sleeper import LEAST_LOSS, NOT_TRAINED, sleeping
from models.seeds import derive
from models.training import EpochReport
from search import objectives
from search.points import Assignment, Outcome
from search.spec import JobSpec, dump

Submit = Callable[..., jobs.Job]


def point(of: JobSpec, trial: int = 0) -> Assignment:
    counts = tuple(layer.total // 4 for layer in problem(of).layers)
    return Assignment("search", trial, derive(0, trial), "sampled", trial, of.network, of.rewiring, counts)


def perform(of: JobSpec, at: Assignment, seconds: float = 0.0) -> tuple[list[EpochReport], Outcome]:
    *epochs, outcome = sleeping(seconds)(dump(of), at.to_json(), None, "any", None).perform()
    assert isinstance(outcome, Outcome)
    return [each for each in epochs if isinstance(each, EpochReport)], outcome


def test_it_sleeps_as_long_as_asked_an_epoch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    of = spec(epochs=4)
    epochs, outcome = perform(of, point(of), seconds=2.0)
    assert slept == [0.5] * 4
    assert [each.epoch for each in epochs] == [1, 2, 3, 4]
    assert (outcome.epochs, outcome.seconds) == (4, 2.0)


def test_its_numbers_follow_from_the_point_and_cannot_be_taken_for_results() -> None:
    of = spec()
    assert perform(of, point(of)) == perform(of, point(of))
    (_, first), (_, second) = perform(of, point(of)), perform(of, point(of, trial=1))
    assert first.loss != second.loss
    assert first.loss >= LEAST_LOSS
    assert first.accuracy < 1 / LEAST_LOSS
    assert first.connections.startswith(NOT_TRAINED)
    assert first.connections != second.connections


@pytest.mark.parametrize("objective", ["loss", "accuracy", "weights", "macs", "flops", "latency", "egf"])
def test_every_objective_has_a_value(objective: str) -> None:
    of = spec(objectives=[objective])
    assert objectives.values(of, perform(of, point(of))[1])


@pytest.fixture
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's main that ends once there is nothing to do, and leaves this process's signals alone."""
    attend = worker.Supervisor._attend_next

    def attended(supervisor: worker.Supervisor) -> bool:
        found = attend(supervisor)
        if not found:
            supervisor.stop()
        return found

    monkeypatch.setattr(worker.Supervisor, "_attend_next", attended)
    monkeypatch.setattr("signal.signal", lambda *_: None)


def test_a_worker_sleeps_where_it_is_asked_to_and_only_then(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, one_round: None, caplog: pytest.LogCaptureFixture
) -> None:
    slept = submit(trials=2)
    db.dispose()
    storage.engine.dispose()
    asked = Settings(state_dir=store.state_dir, database_url=store.database_url, trainer="sleep", sleep_seconds=0.01)
    worker.main(asked)
    assert "this worker trains nothing" in caplog.text
    assert jobs.get(db, slept.id).state == "completed"
    trained = submit(trials=1, name="trained")
    db.dispose()
    worker.main(store)
    losses = {
        job.name: [run.outcome["loss"] for run in runs.of_job(db, job.id, "search") if run.outcome]
        for job in (slept, trained)
    }
    assert min(losses["job"]) >= LEAST_LOSS
    assert max(losses["trained"]) < LEAST_LOSS
