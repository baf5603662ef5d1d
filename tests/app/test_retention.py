"""What is kept how long."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import LEASE, Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine, func, insert, select, update

from app import database, endings, fences, jobs, retention, revisions, run_files, tables
from app.fences import Left
from app.jobs import Job
from app.reaper import Reaper
from app.settings import Settings
from app.usage import Usage

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
OF_A_JOB = ("run_logs", "curves", "runs", "events", "idempotency", "jobs")


def rows(db: Engine) -> dict[str, int]:
    with database.reading(db) as connection:
        count = {name: select(func.count()).select_from(tables.metadata.tables[name]) for name in OF_A_JOB}
        return {name: int(connection.execute(query).scalar_one()) for name, query in count.items()}


def end(db: Engine, storage: RDBStorage, hand: Hand, job: Job, days_ago: float) -> None:
    """All of the job's trials fail, with curves and a log; it ended so long ago."""
    while (claim := hand.claim()) is not None:
        hand.begin(claim)
        report = {"epoch": 1, "loss": 1.0, "nnz": [1]}
        fences.record(db, claim, [report], database.now(db), LEASE)
        left = Left(Usage(1.0, 1), "written\n")
        run = fences.finish(db, claim, "failed", None, "why", database.now(db), LEASE, left)
        endings.close(db, storage, run)
    with db.begin() as connection:
        used = {"owner": "local", "key": job.id, "body_hash": "0" * 64, "job_id": job.id, "created": 0.0}
        connection.execute(insert(tables.idempotency).values(**used))
        finished = database.clock(connection) - days_ago * retention.DAY
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job.id).values(finished=finished))


def completed(db: Engine, job: Job) -> None:
    """As if it had ended well: further trials may be asked of it."""
    with db.begin() as connection:
        ended = {"state": "completed", "error": None, "report": {"verdict": "win"}}
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job.id).values(**ended))


def test_a_job_goes_with_all_that_belongs_to_it_and_nothing_else_does(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands
) -> None:
    kept = submit(trials=2)
    end(db, storage, hand(), kept, days_ago=6)
    before = rows(db)
    assert all(before.values()), before
    old = submit(trials=3)
    end(db, storage, hand(), old, days_ago=8)
    for job in (kept, old):
        file = run_files.log_file(store.state_dir, job.id, "search", 0, 1)
        file.parent.mkdir(parents=True)
        file.write_text("written\n")
    waiting = submit(trials=1)

    Reaper(store.model_copy(update={"keep_days": 7})).look(db, storage)

    assert [job.id for job in jobs.page(db, 10)[0]] == [waiting.id, kept.id]
    assert rows(db) == before | {name: before[name] + 1 for name in ("jobs", "events")}, "of the one that waits"
    assert [study.study_name for study in storage.get_all_studies()] == [kept.study_name]
    assert [folder.name for folder in run_files.logs_of(store.state_dir, "").iterdir()] == [kept.id]


def test_unless_it_is_asked_for_nothing_is_ever_deleted(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    end(db, storage, hand(), job, days_ago=10_000)
    Reaper(store).look(db, storage)
    assert jobs.get(db, job.id).ended


def test_a_job_that_is_not_over_is_kept_however_old(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit
) -> None:
    job = submit(trials=1)
    with db.begin() as connection:
        connection.execute(update(tables.jobs).values(created=0.0))
    retention.clean_up(db, storage, store.state_dir, 0.0)
    assert jobs.get(db, job.id).state == "queued"


@pytest.fixture
def old(db: Engine, storage: RDBStorage, submit: Submit, hand: Hands) -> Job:
    """One that ended two days ago, and of which further trials may be asked."""
    job = submit(trials=1)
    end(db, storage, hand(), job, days_ago=2)
    completed(db, job)
    return job


def test_a_job_that_is_taken_up_again_meanwhile_is_kept(
    store: Settings, db: Engine, storage: RDBStorage, old: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, close = rows(db), retention._close

    def closed_late(*given: Any) -> bool:
        revisions.revise(db, old.id, {"trials": 2})
        return close(*given)

    monkeypatch.setattr(retention, "_close", closed_late)
    retention.clean_up(db, storage, store.state_dir, 1.0)
    assert jobs.get(db, old.id).state == "running"
    assert rows(db) == before | {"events": before["events"] + 2}
    assert [study.study_name for study in storage.get_all_studies()] == [old.study_name]


def test_a_job_whose_deletion_has_begun_is_not_taken_up_again(
    store: Settings, db: Engine, storage: RDBStorage, old: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = retention._delete_study

    def deleted_late(*given: Any) -> None:
        with pytest.raises(jobs.JobFinished):
            revisions.revise(db, old.id, {"trials": 2})
        delete(*given)

    monkeypatch.setattr(retention, "_delete_study", deleted_late)
    retention.clean_up(db, storage, store.state_dir, 1.0)
    assert not any(rows(db).values())


def test_logs_that_cannot_be_deleted_are_said_and_keep_no_job(
    store: Settings,
    db: Engine,
    storage: RDBStorage,
    old: Job,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:

    def refused(folder: Path) -> None:
        raise PermissionError(f"not {folder.name}")

    monkeypatch.setattr(shutil, "rmtree", refused)
    retention.clean_up(db, storage, store.state_dir, 1.0)
    assert not any(rows(db).values())
    assert f"not {old.id}" in caplog.text


def test_a_deletion_that_was_cut_short_is_finished(
    store: Settings, db: Engine, storage: RDBStorage, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    end(db, storage, hand(), job, days_ago=2)
    study_id = jobs.get(db, job.id).optuna_study_id
    assert study_id is not None
    storage.delete_study(study_id)
    retention.clean_up(db, storage, store.state_dir, 1.0)
    with pytest.raises(jobs.JobNotFound):
        jobs.get(db, job.id)
    assert not any(rows(db).values())
