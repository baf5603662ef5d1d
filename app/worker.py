"""A worker: one supervisor, which talks to the databases, and one trainer, which trains.

The supervisor is a single thread, so that whatever it believes about its run is one value, and it forks safely.
"""

import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable

from sqlalchemy import delete, insert, update

from app import claims, cohort, endings, fences, heap, logs, run_files, state, tables, uploads, validations, validator
from app.attendance import Attendance, Ending, NoPoint
from app.blobs import BlobNotFound
from app.claims import Claim
from app.database import engine, now, optuna_storage, upgrade
from app.fences import Fenced
from app.line import Died, Line, NotBegun, NoTrainer
from app.outages import NoAnswer, Patience
from app.settings import Settings
from app.sleeper import sleeping
from app.trainer import Trainer
from models.data.upload import kept_in
from search import cohorts, trials
from search.cached_studies import CachedStudies

SEEN_SECONDS = 10.0  # a worker says so often that it is there

log = logging.getLogger(__name__)


def main(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT; an unfinished run is given back."""
    upgrade(settings)
    if settings.trainer == "sleep":
        log.warning("SNAS_TRAINER=sleep: this worker trains nothing, what it reports is made up")
        heap.settle()
        supervise(settings, lambda: Trainer(settings.data_dir, sleeping(settings.sleep_seconds), keeps_files=False))
        return
    trials.warm_up(state.crossover_file(settings.state_dir))
    heap.settle()  # before the trainer is forked: it shares what is not looked at
    size = cohorts.size(settings.cohort)
    with kept_in(uploads.folder(settings.state_dir)):
        if size > 1:
            cohort.work(size, settings.data_dir, lambda lane: supervise(settings, lane))
        else:
            supervise(settings, lambda: Trainer(settings.data_dir))


def supervise(settings: Settings, make_trainer: Callable[[], Line]) -> None:
    supervisor = Supervisor(settings, make_trainer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    try:
        supervisor.work()
    except NoAnswer as error:
        log.error("%s", error)
        raise SystemExit(1) from None


class Supervisor:
    def __init__(self, settings: Settings, make_trainer: Callable[[], Line]) -> None:
        """make_trainer: called for the first, and for another in place of one that died or does not stop; may then
        raise app.line.NoTrainer.
        """
        self._settings = settings
        self._make_trainer = make_trainer
        self._trainer = make_trainer()
        self._db = engine(settings)
        self._storage = optuna_storage(settings)
        self._studies = CachedStudies(self._storage)
        self._host = socket.gethostname()
        self._id = f"{self._host}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._stopping = False
        self._patiently = Patience(settings, lambda: self._stopping)
        self._seen = float("-inf")

    def stop(self) -> None:
        """Ends the work with the next epoch or the grace of a trainer; may be called from a signal handler."""
        self._stopping = True

    def work(self) -> None:
        """Raises: app.outages.NoAnswer"""
        self._patiently(self._register)
        log.info("worker %s is ready", self._id)
        try:
            while not self._stopping:
                if not self._attend_next():
                    time.sleep(self._settings.poll_seconds)
        finally:
            self._trainer.kill()
        self._patiently(self._sign_off)
        self._disconnect()

    def _attend_next(self) -> bool:
        self._show()
        if self._trainer.is_gone():  # seen before a run is claimed, it costs none an attempt
            self._replace_trainer()
            return True
        if not self._patiently.is_recent:
            self._patiently(self._sweep)
        return self._validate() or self._train()

    def _sweep(self) -> None:
        endings.sweep(self._db, self._storage, self._settings.max_attempts)
        validations.sweep(self._db, now(self._db), self._settings.max_attempts)

    def _validate(self) -> bool:
        lease = self._settings.lease_seconds
        held = self._patiently(lambda: validations.claim(self._db, self._id, now(self._db), lease))
        if held is not None:
            try:
                doing = self._patiently, self._disconnect, self._is_stopping
                validator.attend(self._settings, self._db, held, *doing)
            except Fenced as error:
                log.warning("%s went to another worker", error)
        return held is not None

    def _train(self) -> bool:
        claim = self._patiently(self._claim)
        if claim is not None:
            with logs.about(claim):
                self._attend(claim)
        return claim is not None

    def _claim(self) -> Claim | None:
        return claims.claim(self._db, self._id, self._host, now(self._db), self._settings.lease_seconds)

    def _attend(self, claim: Claim) -> None:
        attendance = Attendance(self._settings, self._db, self._studies, self._trainer, claim, self._patiently)
        try:
            ending = self._follow(attendance)
            self._settle()
            attendance.conclude(ending)
            log.info("run %s of job %s: %s", claim.run_id, claim.job_id, ending.state)
        except Fenced as error:
            log.warning("%s went to another worker", error)
            self._settle()

    def _follow(self, attendance: Attendance) -> Ending:
        try:
            ended = attendance.prepare(self._is_stopping)
            if ended is not None:
                return ended
            attendance.begin()
            return attendance.follow(self._is_stopping)
        except (NoPoint, BlobNotFound, uploads.Damaged) as error:
            log.warning("%s", error)
            return Ending("failed", error=str(error))
        except NotBegun as error:
            log.warning("%s before the run could begin", error)
            return Ending("released")
        except Died as error:
            log.warning("%s", error)
            return Ending("crashed", error=str(error))

    def _is_stopping(self) -> bool:
        self._show()
        return self._stopping

    def _settle(self) -> None:
        """Leaves a trainer that is idle: the same one, or a new one where it did not stop in time or died."""
        if self._stopping and not self._trainer.keeps_files:
            return  # it ends with the others
        try:
            # Before the run is another's: a trainer that is still at it would write to that one's checkpoint.
            stopped = self._trainer.stop(0.0 if self._stopping else self._settings.grace_seconds)
        except Died:
            stopped = False
        if not stopped:
            self._replace_trainer()

    def _replace_trainer(self) -> None:
        self._trainer.kill()
        self._disconnect()  # a connection must not be open in two processes: what one writes, the other would read
        try:
            self._trainer = self._make_trainer()
        except NoTrainer as error:
            log.warning("%s", error)
            self._stopping = True

    def _disconnect(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()
        self._db.dispose()

    def _sign_off(self) -> None:
        with self._db.begin() as connection:
            connection.execute(delete(tables.workers).where(tables.workers.c.id == self._id))

    def _register(self) -> None:
        at = now(self._db)
        row = {"id": self._id, "host": self._host, "pid": os.getpid(), "started": at, "last_seen": at}
        with self._db.begin() as connection:
            connection.execute(delete(tables.workers).where(tables.workers.c.id == self._id))  # it may be repeated
            connection.execute(insert(tables.workers).values(**row))

    def _show(self) -> None:
        if time.monotonic() - self._seen < SEEN_SECONDS:
            return
        self._seen = time.monotonic()
        self._patiently(self._show_now)

    def _show_now(self) -> None:
        with self._db.begin() as connection:
            mine = tables.workers.c.id == self._id
            connection.execute(update(tables.workers).where(mine).values(last_seen=now(self._db)))
        fences.shorten(self._db, now(self._db), self._settings.lease_seconds)
        try:
            run_files.clear(self._db, self._settings.state_dir)
        except OSError as error:
            log.warning("the checkpoints of runs that are over stay in %s: %s", self._settings.state_dir, error)
