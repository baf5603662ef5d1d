"""What is left lying is picked up: by a thread of the server, or a process of its own, of which one at a time leads."""

import logging
import signal
import threading
import uuid

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from sqlalchemy import Engine, delete, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from app import blobs, endings, jobs, outages, retention, runs, tables, validations
from app.advance import advance, stalled
from app.database import clock, engine, now, optuna_storage, reading, upgrade
from app.settings import Settings
from search import study

RECENT_SECONDS = 600.0  # jobs that ended longer ago are taken to be settled
FORGET_AFTER = 10  # leases: a worker unseen for so long is no longer listed

log = logging.getLogger(__name__)


def main(settings: Settings) -> None:
    """Reaps until SIGTERM or SIGINT."""
    upgrade(settings)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    reaper = Reaper(settings)
    reaper.start()
    log.info("the reaper is ready")
    ended.wait()
    reaper.stop()


class Reaper:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._id = uuid.uuid4().hex
        self._settled: set[tuple[str, float]] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        db, storage = engine(self._settings), optuna_storage(self._settings)
        pause = self._settings.reaper_seconds
        while not self._ending.wait(pause):
            try:
                self.look(db, storage)
                pause = self._settings.reaper_seconds
            except (DBAPIError, StorageInternalError) as error:
                if not outages.is_outage(error):
                    raise
                log.error("%s; the reaper tries again", outages.reason(error, self._settings.state_dir))
                # After it, who holds a run is given time to show itself before the run is taken for lost.
                pause = self._settings.lease_seconds
        storage.remove_session()
        storage.engine.dispose()
        db.dispose()

    def look(self, db: Engine, storage: BaseStorage) -> None:
        """One round, where this reaper leads."""
        if not _lead(db, self._id, 5 * self._settings.reaper_seconds):
            return
        endings.sweep(db, storage, self._settings.max_attempts)
        validations.sweep(db, now(db), self._settings.max_attempts)
        blobs.clean_up(db)
        for job_id in stalled(db):
            advance(db, job_id)
        for job_id, finished in _just_ended(db) - self._settled:
            settle(db, storage, job_id)
            self._settled.add((job_id, finished))
        retention.clean_up(db, storage, self._settings.state_dir, self._settings.keep_days)
        _forget_workers(db, FORGET_AFTER * self._settings.lease_seconds)


def settle(db: Engine, storage: BaseStorage, job_id: str) -> None:
    """Tells Optuna the end of every trial of an ended job that it still calls running."""
    job = jobs.get(db, job_id)
    if job.optuna_study_id is None:
        return
    over = {run.ordinal: run for run in runs.of_job(db, job_id, "search")}
    for trial in study.trials(storage, job.study_name):
        if trial.state == "running":
            endings.tell(db, storage, over[trial.ordinal])


def _lead(db: Engine, holder: str, seconds: float) -> bool:
    lease = tables.leases.c
    try:
        with db.begin() as connection:
            at = clock(connection)
            mine = update(tables.leases).where(lease.name == "reaper", or_(lease.holder == holder, lease.until < at))
            if connection.execute(mine.values(holder=holder, until=at + seconds)).rowcount == 1:
                return True
            if connection.execute(select(lease.name).where(lease.name == "reaper")).first() is not None:
                return False
            connection.execute(insert(tables.leases).values(name="reaper", holder=holder, until=at + seconds))
            return True
    except IntegrityError:
        return False  # two were the first, the other was faster


def _just_ended(db: Engine) -> set[tuple[str, float]]:
    """Jobs and when they ended: one that was asked for more trials ends again."""
    job = tables.jobs.c
    query = select(job.id, job.finished).where(job.state.in_(jobs.ENDED), job.finished > now(db) - RECENT_SECONDS)
    with reading(db) as connection:
        return {(job_id, finished) for job_id, finished in connection.execute(query)}


def _forget_workers(db: Engine, seconds: float) -> None:
    silent = tables.workers.c.last_seen < now(db) - seconds
    with reading(db) as connection:
        if connection.execute(select(tables.workers.c.id).where(silent)).first() is None:
            return
    with db.begin() as connection:
        connection.execute(delete(tables.workers).where(silent))
