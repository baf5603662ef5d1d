import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from by_hand import Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine, select

from app import attendance, database, endings, events, fences, jobs, runs, tables
from app.jobs import Job
from app.settings import Settings
from app.trainer import Trainer
from app.worker import Supervisor
from search import study

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
Meanwhile = Callable[[Callable[[], None]], None]


@pytest.fixture
def worker(store: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(attendance, "FLUSH_SECONDS", 0.0)
    db.dispose()  # no connection may be open where a trainer is forked
    made = Supervisor(store, lambda: Trainer(store.data_dir))
    yield made
    made.stop()
    made.work()


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something happen once, when the first epochs of a run have just been stored."""

    def happens(what: Callable[[], None]) -> None:
        record, left = fences.record, [what]

        def recorded(*given: Any) -> None:
            record(*given)
            if left:
                left.pop()()

        monkeypatch.setattr(fences, "record", recorded)

    return happens


def work(worker: Supervisor) -> None:
    while not worker._stopping and worker._attend_next():
        pass


def states(db: Engine, job: Job) -> list[tuple[int, int, str]]:
    return [(run.ordinal, run.attempt, run.state) for run in runs.of_job(db, job.id, "search")]


def test_it_does_a_job_from_its_first_trial_to_its_report(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor
) -> None:
    job = submit(trials=3, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]})
    work(worker)
    done = jobs.get(db, job.id)
    assert (done.state, done.error) == ("completed", None)
    assert states(db, job) == [(0, 1, "complete"), (1, 1, "complete"), (2, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "complete", 2: "complete"}
    assert done.report is not None
    assert all(len(trial["curves"]) == 3 for trial in done.report["trials"])
    told = [(event.data["ordinal"], event.type) for event in events.after(db, 0) if event.data.get("stage") == "search"]
    assert told[:5] == [(0, "run.started"), *[(0, "run.epoch")] * 3, (0, "run.finished")]


def test_a_cancelled_trial_stops_in_the_middle(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job = submit(trials=3, epochs=100_000)
    meanwhile(lambda: jobs.cancel(db, job.id) and None)
    work(worker)
    assert jobs.get(db, job.id).state == "cancelled"
    assert states(db, job) == [(0, 1, "cancelled")]
    assert hand().trials(job) == {0: "failed"}


def test_a_worker_told_to_end_gives_its_run_back(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job = submit(trials=1, epochs=100_000)
    meanwhile(worker.stop)
    work(worker)
    assert states(db, job) == [(0, 1, "waiting")]
    assert hand().trials(job) == {0: "running"}


def test_a_trainer_that_dies_costs_an_attempt_and_nothing_else(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job = submit(trials=2, epochs=20)
    meanwhile(lambda: os.kill(worker._trainer._process.pid or 0, signal.SIGKILL))
    work(worker)
    assert jobs.get(db, job.id).state == "completed"
    assert states(db, job) == [(0, 2, "complete"), (1, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "complete"}
    [lost] = [event.data for event in events.after(db, 0) if event.data.get("state") == "lost"]
    assert lost["error"] == "the trainer was killed by SIGKILL"


def test_a_trainer_that_dies_while_idle_costs_nothing(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor
) -> None:
    work(worker)
    os.kill(worker._trainer._process.pid or 0, signal.SIGKILL)  # type: ignore[attr-defined]
    worker._trainer._process.join()  # type: ignore[attr-defined]
    job = submit(trials=1)
    work(worker)
    assert states(db, job) == [(0, 1, "complete")]


def test_a_trainer_that_died_just_before_it_was_given_a_run_costs_that_run_no_attempt(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, seen = worker._trainer, iter([False])
    monkeypatch.setattr(dead, "is_gone", lambda: next(seen, True))
    os.kill(dead._process.pid or 0, signal.SIGKILL)  # type: ignore[attr-defined]
    dead._process.join()  # type: ignore[attr-defined]
    job = submit(trials=1)
    work(worker)
    assert states(db, job) == [(0, 1, "complete")]
    assert hand().trials(job) == {0: "complete"}
    started = [event.data["attempt"] for event in events.after(db, 0) if event.type == "run.started"]
    assert started == [1, 1], "it was given to the dead one first"


def test_a_trainer_that_always_dies_fails_the_trial_with_the_reason(
    store: Settings, db: Engine, submit: Submit, hand: Hands, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = fences.record

    def killed(*given: Any) -> None:
        record(*given)
        os.kill(worker._trainer._process.pid or 0, signal.SIGKILL)

    monkeypatch.setattr(fences, "record", killed)
    job = submit(trials=1, epochs=100_000)
    work(worker)
    [run] = runs.of_job(db, job.id)
    assert (run.attempt, run.state) == (store.max_attempts, "failed")
    assert run.error == "the trainer was killed by SIGKILL (attempt 3 of 3)"
    assert jobs.get(db, job.id).state == "failed"
    assert hand().trials(job) == {0: "failed"}


def test_a_worker_that_was_fenced_leaves_the_run_to_its_new_owner(
    db: Engine, storage: RDBStorage, submit: Submit, hand: Hands, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    job, other = submit(trials=1, epochs=100_000), hand("other")

    def taken_over() -> None:
        with db.begin() as connection:
            connection.execute(tables.runs.update().values(lease_until=1000.0))
        endings.sweep(db, storage, 3)
        claim = other.take()
        other.begin(claim)
        other.finish(claim)

    meanwhile(taken_over)
    work(worker)
    assert states(db, job) == [(0, 2, "complete")]
    assert jobs.get(db, job.id).state == "completed"


def test_at_the_rung_the_worse_half_is_stopped_and_its_epochs_are_kept(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def goes_on(_spec: Any, epoch: int, _loss: float, weights: int, peers: Any) -> bool:
        seen.append((epoch, weights > 0, len(peers)))
        return len(seen) != 2

    monkeypatch.setattr("app.attendance.early_stopping.goes_on", goes_on)
    job = submit(trials=3, epochs=5, stopping={"kind": "halving", "from": 0.4})
    work(worker)
    assert seen == [(2, True, 0), (2, True, 1), (2, True, 2)]
    assert states(db, job) == [(0, 1, "complete"), (1, 1, "pruned"), (2, 1, "complete")]
    assert hand().trials(job) == {0: "complete", 1: "pruned", 2: "complete"}
    report = jobs.get(db, job.id).report
    assert report is not None
    assert [len(trial["curves"]) for trial in report["trials"]] == [5, 2, 5]


def test_a_training_that_raises_fails_its_trial_with_the_reason(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor
) -> None:
    job = submit(trials=2)
    with db.begin() as connection:
        gone = job.spec | {"data": job.spec["data"] | {"kind": "files", "name": "nowhere"}}
        connection.execute(tables.jobs.update().values(spec=gone))
    work(worker)
    assert states(db, job) == [(0, 1, "failed"), (1, 1, "failed")], "what fails by itself is not tried again"
    failed = jobs.get(db, job.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert "nowhere" in failed.error
    assert hand().trials(job) == {0: "failed", 1: "failed"}


def test_a_slot_without_a_point_fails_and_is_told_and_the_worker_goes_on(
    db: Engine, submit: Submit, hand: Hands, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = study.Asked.begin

    def begun(*given: Any) -> Any:
        if given[-1] == 0:
            raise ValueError("nothing fits")
        return begin(*given)

    monkeypatch.setattr(study.Asked, "begin", begun)
    job = submit(trials=2)
    work(worker)
    first, second = runs.of_job(db, job.id)
    assert (first.state, first.error) == ("failed", "no point could be made for it: nothing fits")
    assert second.state == "complete"
    assert hand().trials(job) == {0: "failed", 1: "complete"}
    assert jobs.get(db, job.id).state == "completed"


def test_others_may_write_while_a_sampler_thinks(
    store: Settings, db: Engine, submit: Submit, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, written = study.Asked.draw, []

    def drawn(asked: study.Asked) -> None:
        draw(asked)
        with db.begin() as connection:  # on SQLite it waits for whoever writes: here it would for ever
            events.add(connection, job.id, "job.changed", {})
        written.append(asked)

    monkeypatch.setattr(study.Asked, "draw", drawn)
    job = submit(trials=2)
    work(worker)
    assert len(written) == 2
    assert jobs.get(db, job.id).state == "completed"


def test_a_trainer_that_does_not_stop_in_time_is_replaced(
    store: Settings, db: Engine, submit: Submit, worker: Supervisor, meanwhile: Meanwhile
) -> None:
    worker._settings = store.model_copy(update={"grace_seconds": 0.1})
    first, job, after = worker._trainer, submit(trials=1, epochs=100_000), submit(trials=1)

    def hang_and_cancel() -> None:
        os.kill(first._process.pid or 0, signal.SIGSTOP)
        jobs.cancel(db, job.id)

    meanwhile(hang_and_cancel)
    work(worker)
    assert jobs.get(db, job.id).state == "cancelled"
    assert worker._trainer is not first
    assert jobs.get(db, after.id).state == "completed"


def test_a_worker_is_listed_while_it_works(store: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed() -> list[int]:
        with database.reading(db) as connection:
            return list(connection.execute(select(tables.workers.c.pid)).scalars())

    def attend_next() -> bool:
        seen.extend(listed())
        worker.stop()
        return True

    seen: list[int] = []
    worker = Supervisor(store, lambda: Trainer(store.data_dir))
    monkeypatch.setattr(worker, "_attend_next", attend_next)
    worker.work()
    assert seen == [os.getpid()]
    assert listed() == []
