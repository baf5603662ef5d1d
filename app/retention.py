"""What is kept how long: a job that ended `SNAS_KEEP_DAYS` ago goes, with its runs, curves, events, logs and study.

What the audit log says of it stays, and so do uploaded data sets, which their owners delete. Unless it is set, nothing
is ever deleted.
"""

import logging
import shutil
from pathlib import Path

from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, delete, select

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
    old = select(_jobs.id, _jobs.optuna_study_id).where(
        _jobs.state.in_(ENDED), _jobs.finished < now(db) - DAY * keep_days
    )
    with reading(db) as connection:
        found = connection.execute(old.order_by(_jobs.finished).limit(AT_ONCE)).all()
    for job_id, study_id in found:
        # The logs first: without the row nobody would know whose they are.
        shutil.rmtree(run_files.logs_of(state_dir, job_id), ignore_errors=True)
        if study_id is not None:
            _delete_study(storage, study_id)
        with db.begin() as connection:
            _delete(connection, job_id)
        log.info("job %s ended more than %g days ago and was deleted", job_id, keep_days)


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
