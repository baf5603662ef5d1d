import signal
import threading
from collections.abc import Callable, Iterator

import pytest
from by_hand import Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine, insert, select

from app import database, jobs, reaper, runs, tables
from app.jobs import Job
from app.reaper import Reaper
from app.settings import Settings

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
LONG_AGO = 1000.0


@pytest.fixture
def reap(store: Settings, db: Engine, storage: RDBStorage) -> Callable[[], None]:
    reaper = Reaper(store)
    return lambda: reaper.look(db, storage)


def test_a_run_whose_worker_died_waits_for_the_next(
    db: Engine, submit: Submit, hand: Hands, reap: Callable[[], None]
) -> None:
    job, dead = submit(), hand("dead")
    dead.begin(dead.take(at=LONG_AGO))
    reap()
    assert [(run.attempt, run.state) for run in runs.of_job(db, job.id)] == [(2, "waiting")]


def test_a_job_that_nobody_moved_on_is_moved_on(
    db: Engine, submit: Submit, hand: Hands, reap: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, one = submit(trials=1), hand()
    with monkeypatch.context() as patch:
        patch.setattr("app.endings.advance", lambda *_: None)
        one.do()
    assert jobs.get(db, job.id).state == "running"
    reap()
    assert jobs.get(db, job.id).state == "completed"


def test_what_a_cancelled_job_left_is_closed(db: Engine, submit: Submit, hand: Hands, reap: Callable[[], None]) -> None:
    job, dead = submit(trials=3), hand("dead")
    dead.do()
    number = dead.begin(dead.take(at=LONG_AGO))
    jobs.cancel(db, job.id)
    reap()
    assert jobs.get(db, job.id).state == "cancelled"
    assert dead.trials(job) == {0: "complete", number: "failed"}


def test_a_trial_that_optuna_calls_running_though_its_run_is_over_is_told(
    db: Engine, submit: Submit, hand: Hands, reap: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, one = submit(trials=2), hand()
    one.do()
    with monkeypatch.context() as patch:
        patch.setattr("app.endings.study.tell", lambda *_: None)  # as after Optuna's file was put back from a backup
        one.do()
    assert one.trials(job) == {0: "complete", 1: "running"}
    reap()
    assert one.trials(job) == {0: "complete", 1: "complete"}


def test_only_one_reaper_leads_until_it_falls_silent(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands
) -> None:
    job, dead = submit(), hand("dead")
    leader, other = Reaper(store), Reaper(store)
    leader.look(db, storage)
    dead.begin(dead.take(at=LONG_AGO))
    other.look(db, storage)
    assert [run.attempt for run in runs.of_job(db, job.id)] == [1]
    with db.begin() as connection:
        connection.execute(tables.leases.update().values(until=LONG_AGO))
    other.look(db, storage)
    assert [run.attempt for run in runs.of_job(db, job.id)] == [2]


def test_workers_long_unseen_are_forgotten(db: Engine, reap: Callable[[], None]) -> None:
    seen = {"dead": LONG_AGO, "alive": database.now(db)}
    with db.begin() as connection:
        for name, at in seen.items():
            row = {"id": name, "host": "host", "pid": 1, "started": at, "last_seen": at}
            connection.execute(insert(tables.workers).values(**row))
    reap()
    with database.reading(db) as connection:
        assert connection.execute(select(tables.workers.c.id)).scalars().all() == ["alive"]


@pytest.fixture
def running(store: Settings) -> Iterator[Reaper]:
    reaper = Reaper(store.model_copy(update={"reaper_seconds": 0.01}))
    reaper.start()
    yield reaper
    reaper.stop()


def test_its_thread_looks_again_and_again_and_ends_when_told(
    db: Engine, submit: Submit, hand: Hands, running: Reaper
) -> None:
    job = submit()
    hand("dead").take(at=LONG_AGO)
    while runs.of_job(db, job.id)[0].attempt == 1:
        pass
    running.stop()
    assert not running._thread.is_alive()


def test_a_reaper_of_its_own_process_reaps_until_it_is_asked_to_end(
    sqlite: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_to_end: dict[int, Callable[[], None]] = {}
    monkeypatch.setattr("signal.signal", asked_to_end.__setitem__)
    looked = threading.Event()
    monkeypatch.setattr(reaper.Reaper, "look", lambda *_: looked.set())
    process = threading.Thread(target=reaper.main, args=(sqlite.model_copy(update={"reaper_seconds": 0.01}),))
    process.start()
    assert looked.wait(60)
    assert process.is_alive()
    asked_to_end[signal.SIGTERM]()
    process.join(60)
    assert not process.is_alive()
