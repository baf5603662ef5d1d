"""A run that was interrupted goes on from its checkpoint: each epoch is stored once, and the result is the same."""

import faulthandler
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import LEASE, Hand, epoch
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import attendance, database, endings, events, fences, queueing, run_files, runs, tables
from app.jobs import Job
from app.settings import Settings
from app.trainer import Trainer
from app.worker import Supervisor
from search import trials
from search.points import Assignment, Outcome
from search.resumable import Resumable, plain
from search.spec import parse

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
Workers = Callable[..., Supervisor]
EPOCHS = 16


@pytest.fixture
def employ(store: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """Makes a worker that writes a checkpoint at every epoch, unless told otherwise."""
    trials.warm_up()  # else every trainer imports for seconds
    monkeypatch.setattr(attendance, "FLUSH_SECONDS", 0.0)
    made: list[Supervisor] = []

    def employed(**changes: Any) -> Supervisor:
        settings = store.model_copy(update={"checkpoint_seconds": 0.0, **changes})
        db.dispose()  # no connection may be open where a trainer is forked
        made.append(Supervisor(settings, lambda: Trainer(None)))
        return made[-1]

    yield employed
    for worker in made:
        worker.stop()
        worker.work()


def at_epoch(number: int, what: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has something happen once, when this epoch, or one after it, was stored."""
    record, left = fences.record, [what]

    def recorded(db: Engine, claim: Any, reports: Any, *given: Any) -> None:
        record(db, claim, reports, *given)
        if left and reports[-1]["epoch"] >= number:
            left.pop()()

    monkeypatch.setattr(fences, "record", recorded)


def work(worker: Supervisor) -> None:
    while not worker._stopping and worker._attend_next():
        pass


def kill_trainer(worker: Supervisor) -> None:
    os.kill(worker._trainer._process.pid or 0, signal.SIGKILL)  # type: ignore[attr-defined]


def whole(run: runs.RunRow, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The epochs and the outcome of the run's training, never interrupted."""
    assert run.assignment is not None
    *reports, outcome = trials.perform(parse(job.spec), Assignment.from_json(run.assignment), None)
    assert isinstance(outcome, Outcome)
    return [plain(report) for report in reports], outcome.to_json()  # type: ignore[arg-type]


def same(one: Any, other: Any) -> bool:
    return {**one, "seconds": 0} == {**other, "seconds": 0}


def assert_whole(db: Engine, job: Job, attempt: int) -> None:
    """One complete run, whose epochs and outcome are those of a training that nobody interrupted."""
    [run] = runs.of_job(db, job.id)
    assert (run.attempt, run.state, run.error) == (attempt, "complete", None)
    epochs, outcome = whole(run, job)
    stored = runs.curves(db, job.id)[run.id]
    assert len(stored) == len(epochs)
    assert all(map(same, stored, epochs))
    assert run.outcome is not None
    assert same(run.outcome, outcome)


def told(db: Engine, kind: str, key: str) -> list[Any]:
    return [event.data[key] for event in events.after(db, 0, limit=10_000) if event.type == kind]


def checkpoints(settings: Settings) -> list[str]:
    directory = settings.state_dir / "checkpoints"
    return sorted(path.name.partition(".")[2] for path in directory.iterdir()) if directory.exists() else []


def test_a_run_given_back_goes_on_as_the_same_attempt_where_it_was_left(
    store: Settings, db: Engine, submit: Submit, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(trials=1, epochs=EPOCHS)
    first = employ(checkpoint_seconds=3600.0)
    at_epoch(6, first.stop, monkeypatch)
    work(first)
    [run] = runs.of_job(db, job.id)
    assert (run.attempt, run.state) == (1, "waiting")
    assert checkpoints(store) == ["search-0.1.checkpoint"]
    work(employ())
    assert_whole(db, job, attempt=1)
    started = told(db, "run.started", "after_epoch")
    assert started[0] == 0
    assert started[1] >= 6
    assert told(db, "run.epoch", "epoch") == list(range(1, EPOCHS + 1)), "each epoch is told once, and in order"


def test_the_attempt_after_a_killed_trainer_goes_on_from_its_checkpoint(
    store: Settings, db: Engine, submit: Submit, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = submit(trials=1, epochs=EPOCHS), employ()
    at_epoch(6, lambda: kill_trainer(worker), monkeypatch)
    work(worker)
    assert_whole(db, job, attempt=2)
    assert told(db, "run.started", "after_epoch")[1] >= 5
    run_files.clear(db, store.state_dir)
    assert checkpoints(store) == [], "what is over needs none"


def test_without_a_checkpoint_it_starts_over(
    db: Engine, submit: Submit, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = submit(trials=1, epochs=EPOCHS), employ(checkpoint_seconds=3600.0)
    at_epoch(6, lambda: kill_trainer(worker), monkeypatch)
    work(worker)
    assert_whole(db, job, attempt=2)
    assert told(db, "run.started", "after_epoch") == [0, 0]


@pytest.mark.parametrize("fault", ["damaged", "foreign"])
def test_a_checkpoint_that_cannot_be_gone_on_from_is_set_aside_and_the_run_starts_over(
    sqlite: Settings, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trials.warm_up()
    monkeypatch.setattr(attendance, "FLUSH_SECONDS", 0.0)
    settings = sqlite.model_copy(update={"checkpoint_seconds": 0.0})
    first = Supervisor(settings, lambda: Trainer(None))
    submitted = _submit(first)
    at_epoch(5, first.stop, monkeypatch)
    work(first)
    [file] = (settings.state_dir / "checkpoints").iterdir()
    if fault == "damaged":
        content = bytearray(file.read_bytes())
        content[-50] ^= 1
        file.write_bytes(content)
    else:
        with first._db.begin() as connection:
            changed = runs.of_job(first._db, submitted.id)[0].assignment
            connection.execute(tables.runs.update().values(assignment=(changed or {}) | {"seed": 5}))
    first.work()  # its last words: it was stopped
    second = Supervisor(settings, lambda: Trainer(None))
    with caplog.at_level(logging.WARNING):
        work(second)
    assert_whole(second._db, submitted, attempt=1)
    assert told(second._db, "run.started", "after_epoch") == [0, 0]
    assert ("it is damaged" if fault == "damaged" else "it belongs to") in caplog.text
    assert str(settings.state_dir) in caplog.text
    assert "search-0.1.damaged" in checkpoints(settings)
    second.stop()
    second.work()


def _submit(worker: Supervisor) -> Job:
    from by_hand import problem, spec

    made = spec(trials=1, epochs=12)
    job = queueing.submit(worker._db, made, problem(made))[0]
    worker._disconnect()
    return job


def test_who_takes_a_slot_over_has_its_checkpoint_and_the_one_before_never_gets_it_back(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands, tmp_path: Path
) -> None:
    job, zombie, heir = submit(trials=1), hand("zombie"), hand("heir")
    claim = zombie.take(at=1000.0)
    zombie.begin(claim)
    [run] = runs.of_job(db, job.id)
    assert run.assignment is not None
    given = job.spec, run.assignment, job.problem["data_hash"]
    training = Resumable(job.spec, run.assignment, None, job.problem["data_hash"], left_at=None)
    next(training.perform())
    written = run_files.of(store.state_dir, claim, 0.0, 0).checkpoint
    written.parent.mkdir()
    training.save(written)
    endings.sweep(db, storage, 3)
    again = heir.take()
    assert [report["epoch"] for report in run_files.take_over(store.state_dir, again, *given)] == [1]
    assert checkpoints(store) == ["search-0.2.checkpoint"]
    assert run_files.take_over(store.state_dir, claim, *given) == ()
    training.save(written)  # the zombie wakes up
    assert checkpoints(store) == ["search-0.1.checkpoint", "search-0.2.checkpoint"]
    run_files.clear(db, store.state_dir)
    assert len(checkpoints(store)) == 2, "the slot is open"
    heir.begin(again)
    heir.finish(again)
    run_files.clear(db, store.state_dir)
    assert checkpoints(store) == []


def test_epochs_behind_a_checkpoint_take_the_place_of_what_was_stored(db: Engine, submit: Submit, hand: Hands) -> None:
    job, dead, heir = submit(trials=1), hand("dead"), hand("heir")
    claim = dead.take(at=1000.0)
    dead.begin(claim)
    fences.record(db, claim, [epoch(1), epoch(2)], 1001.0, LEASE)
    endings.sweep(db, heir.storage, 3)
    again = heir.take()
    assert again.assignment is not None
    with fences.fence(db, again, "asking") as connection:
        behind = [epoch(1), epoch(2), epoch(3), epoch(4)]
        fences.begin(connection, again, again.number, again.assignment, database.now(db), LEASE, behind)
    fences.record(db, again, [epoch(5)], database.now(db), LEASE)
    [run] = runs.of_job(db, job.id)
    assert [row["epoch"] for row in runs.curves(db, job.id)[run.id]] == [1, 2, 3, 4, 5]
    assert told(db, "run.epoch", "epoch") == [1, 2, 3, 4, 5], "those that were stored had been told"
    assert told(db, "run.started", "after_epoch") == [0, 4]


def test_epochs_after_the_checkpoint_are_dropped_and_come_again(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1), hand()
    claim = one.take()
    one.begin(claim)
    fences.record(db, claim, [epoch(1), epoch(2), epoch(3)], database.now(db), LEASE)
    fences.release(db, claim, database.now(db))
    again = one.take()
    assert again.assignment is not None
    with fences.fence(db, again, "asking") as connection:
        fences.begin(connection, again, again.number, again.assignment, database.now(db), LEASE, [epoch(1)])
    assert [row["epoch"] for row in runs.curves(db, job.id)[again.run_id]] == [1]
    fences.record(db, again, [epoch(2)], database.now(db), LEASE)
    assert [row["epoch"] for row in runs.curves(db, job.id)[again.run_id]] == [1, 2]


def test_storing_epochs_may_be_repeated(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1), hand()
    claim = one.take()
    one.begin(claim)
    for epochs in ([epoch(1)], [epoch(1), epoch(2)], [epoch(2)]):
        fences.record(db, claim, epochs, database.now(db), LEASE)
    assert [row["epoch"] for row in runs.curves(db, job.id)[claim.run_id]] == [1, 2]
    assert told(db, "run.epoch", "epoch") == [1, 2]


def test_a_trial_that_poisons_its_worker_fails_after_its_attempts_with_the_end_of_its_log(
    store: Settings, db: Engine, submit: Submit, hand: Hands, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(_training: Resumable) -> Iterator[Any]:
        os.write(2, b"the last words\n")
        faulthandler._sigsegv()  # type: ignore[attr-defined]
        yield

    monkeypatch.setattr(Resumable, "perform", poisoned)
    job = submit(trials=1)
    work(employ())
    [run] = runs.of_job(db, job.id)
    assert (run.attempt, run.state) == (store.max_attempts, "failed")
    assert run.error is not None
    head, _, end = run.error.partition("; the last that it wrote:\n")
    assert head == "the trainer was killed by SIGSEGV (attempt 3 of 3)"
    assert end.startswith("the last words")
    assert "Fatal Python error: Segmentation fault" in end
    assert "in poisoned" in end
    for attempt in (1, 2, 3):
        log = run_files.log_file(store.state_dir, job.id, "search", 0, attempt)
        assert log.read_text().count("the last words") == 1
    assert hand().trials(job) == {0: "failed"}


def test_a_run_that_reports_nothing_for_too_long_is_stopped_and_tried_again(
    db: Engine, submit: Submit, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = submit(trials=1, epochs=EPOCHS), employ(run_minutes=2 / 60, grace_seconds=0.1)
    stuck = worker._trainer._process.pid or 0  # type: ignore[attr-defined]
    at_epoch(6, lambda: os.kill(stuck, signal.SIGSTOP), monkeypatch)
    work(worker)
    assert_whole(db, job, attempt=2)
    [lost] = [event.data for event in events.after(db, 0, limit=1000) if event.data.get("state") == "lost"]
    assert lost["error"].startswith("it reported nothing for 0.0333333 minutes")


def test_a_trainer_that_is_held_past_the_lease_and_let_go_has_lost_nothing(
    db: Engine, submit: Submit, employ: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = submit(trials=1, epochs=EPOCHS), employ(lease_seconds=1.5)
    held = worker._trainer._process.pid or 0  # type: ignore[attr-defined]
    renewals: list[float] = []
    renew = fences.renew

    def renewed(*given: Any) -> None:
        renew(*given)
        renewals.append(given[2])
        if renewals[-1] - renewals[0] > 1.5:  # nobody could have taken the run, for all that time
            os.kill(held, signal.SIGCONT)

    monkeypatch.setattr(fences, "renew", renewed)
    at_epoch(6, lambda: os.kill(held, signal.SIGSTOP), monkeypatch)
    work(worker)
    assert renewals[-1] - renewals[0] > 1.5
    assert_whole(db, job, attempt=1)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", ""),
        ("".join(f"line {number}\n" for number in range(100)), "\n".join(f"line {n}" for n in range(80, 100))),
        (
            "before\nFatal Python error: Aborted\n" + 99 * "frame\n",
            "before\nFatal Python error: Aborted\n" + 9 * "frame\n",
        ),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
    ],
    ids=["empty", "long", "crash", "nul"],
)
def test_of_a_log_its_end_is_told_and_of_a_crash_the_innermost_frames(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "log").write_text(written)
    assert run_files.last_lines(run_files.tail(tmp_path / "log")) == told.strip()


def test_where_there_is_no_log_nothing_is_told_of_it(tmp_path: Path) -> None:
    assert run_files.tail(tmp_path / "log") == ""
