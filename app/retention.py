"""What is kept how long: a job that ended `SNAS_KEEP_DAYS` ago goes, with its runs, curves, events, logs and study.

What the audit log says of it stays, and so do uploaded data sets, which their owners delete. Unless it is set, nothing
is ever deleted.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, Select, delete, select, update

from app import run_files, tables
from app.database import now, reading
from app.jobs import ENDED

AT_ONCE = 20  # jobs in one round of the reaper, which has more to do
DAY = 86400.0  # seconds

_jobs, _runs = tables.jobs.c, tables.runs.c

log = logging.getLogger(__name__)


def clean_up(db: Engine, storage: BaseStorage, state_dir: Path, keep_days: float | None) -> None:
    """One round. Each step may be repeated after a crash: the job's own row goes last of what a database holds."""
    if keep_days is None:
        return
    old = _old(now(db) - DAY * keep_days)
    with reading(db) as connection:
        found = connection.execute(old.order_by(_jobs.finished).limit(AT_ONCE)).all()
    for job_id, study_id in found:
        if not _close(db, old, job_id):
            continue
        # The logs and the study before the row: without it nobody would know whose they are.
        _delete_logs(run_files.logs_of(state_dir, job_id))
        if study_id is not None:
            _delete_study(storage, study_id)
        with db.begin() as connection:
            _delete(connection, job_id)
        log.info("job %s ended more than %g days ago and was deleted", job_id, keep_days)


def _old(finished_before: float) -> Select[Any]:
    return select(_jobs.id, _jobs.optuna_study_id).where(_jobs.state.in_(ENDED), _jobs.finished < finished_before)


def _close(db: Engine, old: Select[Any], job_id: str) -> bool:
    """Has a job take no further trials; False where some were asked of it meanwhile, which takes it up again."""
    with db.begin() as connection:
        if connection.execute(old.where(_jobs.id == job_id).with_for_update()).first() is None:
            return False
        closed = {"state": "failed", "error": "it ended long ago and is being deleted"}
        connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**closed))
        return True


def _delete_logs(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass  # its runs were trained on other hosts, or never
    except OSError as error:
        log.warning("the logs of a deleted job stay in %s: %s", folder, error)


def _delete_study(storage: BaseStorage, study_id: int) -> None:
    try:
        storage.delete_study(study_id)
    except KeyError:
        log.info("study %d was deleted before", study_id)


def _delete(connection: Connection, job_id: str) -> None:
    runs = select(_runs.id).where(_runs.job_id == job_id)
    for table in (tables.run_logs, tables.curves):
        connection.execute(delete(table).where(table.c.run_id.in_(runs)))
    for table in (tables.runs, tables.events, tables.idempotency):
        connection.execute(delete(table).where(table.c.job_id == job_id))
    connection.execute(delete(tables.jobs).where(_jobs.id == job_id))
