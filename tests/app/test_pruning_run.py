"""A start whose counts come from a training: it is trained once, before the point is asked for, inside the fences."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from by_hand import Hand, problem, spec
from optuna.storages import RDBStorage
from sqlalchemy import Engine, update
from starlette.testclient import TestClient

from app import attendance, claims, database, endings, events, jobs, queueing, runs, tables
from app.attendance import Attendance
from app.jobs import Job
from app.settings import Settings
from app.trainer import Trainer
from app.worker import Supervisor
from search import gradual_start
from search.gradual_start import Pruned

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
Meanwhile = Callable[[Callable[[], Any]], None]

SEARCH: dict[str, Any] = {"space": {"kind": "budget", "density": 0.2}, "starts": ["erk", "gradual"], "trials": 3}


@pytest.fixture
def worker(store: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(attendance, "FLUSH_SECONDS", 0.01)
    db.dispose()  # no connection may be open where a trainer is forked
    made = Supervisor(store, lambda: Trainer(store.data_dir))
    yield made
    made.stop()
    made.work()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something happen once, when the pruning run has trained its first epoch."""

    def happens(what: Callable[[], Any]) -> None:
        go_on, left = Attendance._go_on, [what]

        def went_on(self: Attendance, reports: Any, report: Any) -> None:
            go_on(self, reports, report)
            if left:
                left.pop()()

        monkeypatch.setattr(Attendance, "_go_on", went_on)

    return happens


def work(worker: Supervisor) -> None:
    while not worker._stopping and worker._attend_next():
        pass


def states(db: Engine, job: Job) -> list[tuple[int, int, str]]:
    return [(run.ordinal, run.attempt, run.state) for run in runs.of_job(db, job.id, "search")]


def found(db: Engine, job: Job) -> Any:
    return jobs.get(db, job.id).problem["gradual"]


def test_the_run_comes_first_and_the_trial_has_what_it_left(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor
) -> None:
    job = submit(**SEARCH)
    assert found(db, job) is None
    work(worker)
    done = jobs.get(db, job.id)
    assert (done.state, done.error) == ("completed", None)
    assert states(db, job) == [(0, 1, "complete"), (1, 1, "complete"), (2, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "complete", 2: "complete"}
    came_to = found(db, job)
    second = runs.of_job(db, job.id, "search")[1]
    assert second.assignment is not None
    assert second.assignment["label"] == "start:gradual"
    assert second.assignment["counts"] == came_to["counts"]
    assert done.report is not None
    rows = done.report["trials"]
    assert [len(row["curves"]) for row in rows] == [3, 3, 3], "the pruning run's epochs are no trial's"
    assert [row["pruning_run"] is None for row in rows] == [True, False, True]
    assert rows[1]["pruning_run"]["weights"] == came_to["weights"]
    assert (came_to["weights"][-1], len(came_to["weights"])) == (118, 3)


def test_a_trainer_killed_in_the_run_costs_an_attempt_and_the_counts_are_the_same(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    whole = submit(**SEARCH)
    work(worker)
    job = submit(**SEARCH)
    meanwhile(lambda: os.kill(worker._trainer._process.pid or 0, signal.SIGKILL))  # type: ignore[attr-defined]
    work(worker)
    assert states(db, job) == [(0, 1, "complete"), (1, 2, "complete"), (2, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "complete", 2: "complete"}
    assert found(db, job)["counts"] == found(db, whole)["counts"]


def test_a_trial_that_is_repeated_after_the_run_trains_its_counts_without_another(
    db: Engine, submit: Submit, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, killed = [], []
    run, begin = gradual_start.run, Attendance.begin

    def counted(*given: Any) -> Any:
        begun.append(1)
        return run(*given)

    def begin_and_die(self: Attendance) -> None:
        if begun and not killed:
            killed.append(1)
            os.kill(worker._trainer._process.pid or 0, signal.SIGKILL)  # type: ignore[attr-defined]
            worker._trainer._process.join()  # type: ignore[attr-defined]
        begin(self)

    monkeypatch.setattr(gradual_start, "run", counted)
    monkeypatch.setattr(Attendance, "begin", begin_and_die)
    job = submit(**SEARCH)
    work(worker)
    assert states(db, job) == [(0, 1, "complete"), (1, 1, "complete"), (2, 1, "complete")], "the trial had not begun"
    assert (len(begun), len(killed)) == (1, 1)
    given = [event.data["ordinal"] for event in events.after(db, 0) if event.type == "run.started"]
    assert given == [0, 1, 1, 2]


def test_a_worker_that_was_fenced_in_the_run_keeps_nothing_of_it(
    db: Engine, storage: RDBStorage, submit: Submit, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    seen = []

    def taken_over() -> None:
        with db.begin() as connection:
            connection.execute(update(tables.runs).where(tables.runs.c.state == "asking").values(lease_until=1000.0))
        endings.sweep(db, storage, 3)
        other = claims.claim(db, "other", "host", database.now(db), 60.0)
        assert other is not None
        seen.append((other.ordinal, other.attempt))

    meanwhile(taken_over)
    job = submit(max_parallel=2, **SEARCH)
    work(worker)
    assert seen == [(1, 2)]
    assert found(db, job) is None
    assert states(db, job) == [(0, 1, "complete"), (1, 2, "asking"), (2, 1, "complete")]


def test_a_job_cancelled_in_the_run_has_no_trial_of_it(
    db: Engine, submit: Submit, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job = submit(epochs=1000, **SEARCH | {"starts": ["gradual"]})
    meanwhile(lambda: jobs.cancel(db, job.id))
    work(worker)
    assert jobs.get(db, job.id).state == "cancelled"
    assert states(db, job) == [(0, 1, "cancelled")]
    assert jobs.get(db, job.id).optuna_study_id is None, "Optuna was not asked for anything"


def test_a_worker_told_to_end_in_the_run_gives_the_slot_back(
    db: Engine, submit: Submit, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job = submit(epochs=1000, **SEARCH | {"starts": ["gradual"]})
    meanwhile(worker.stop)
    work(worker)
    assert states(db, job) == [(0, 1, "waiting")]
    assert found(db, job) is None


def test_a_run_that_fails_is_a_failed_trial_with_the_reason_and_the_search_goes_on(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = gradual_start.run

    def elsewhere(*given: Any) -> Any:
        job, point = run(*given)
        return job, point.__class__.from_json(point.to_json() | {"counts": [1]})

    monkeypatch.setattr(gradual_start, "run", elsewhere)
    job = submit(**SEARCH)
    work(worker)
    assert states(db, job) == [(0, 1, "complete"), (1, 1, "failed"), (2, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "failed", 2: "complete"}
    error = runs.of_job(db, job.id, "search")[1].error
    assert error is not None
    assert error.startswith("the pruning run for its counts: ")
    assert jobs.get(db, job.id).state == "completed"


def test_other_slots_do_not_wait_for_the_run(db: Engine, submit: Submit, hand: Hands, worker: Supervisor) -> None:
    job, other = submit(**SEARCH | {"starts": ["gradual", "erk"]}), hand("other")
    first = other.take()
    assert first.ordinal == 0
    work(worker)
    assert states(db, job) == [(0, 1, "asking"), (1, 1, "complete"), (2, 1, "complete")]
    labels = [run.assignment["label"] for run in runs.of_job(db, job.id, "search") if run.assignment]
    assert labels == ["start:erk", "sampled"]


def test_the_page_says_what_is_trained_before_the_point_is_known(client: TestClient, sqlite: Settings) -> None:
    db = database.engine(sqlite)
    asked = spec(**SEARCH | {"starts": ["gradual"]})
    job, _ = queueing.submit(db, asked, problem(asked))
    claim = claims.claim(db, "one", "host", database.now(db), 60.0)
    assert claim is not None
    assert "gradual pruning, for the counts of a start" in client.get(f"/ui/jobs/{job.id}").text
    with db.begin() as connection:
        found = Pruned((100, 18), (600, 300, 118), 3.0)
        jobs.keep_problem(connection, job.id, replace(problem(asked), gradual=found))
    assert "gradual pruning, for the counts of a start" not in client.get(f"/ui/jobs/{job.id}").text
    db.dispose()
