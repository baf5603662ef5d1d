"""One run from claim to end, as its supervisor sees it: ask, begin, follow the trainer, and say how it ended."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from optuna.storages import BaseStorage
from sqlalchemy import Engine

from app import endings, fences, jobs, runs, uploads
from app.claims import Claim
from app.database import clock, now
from app.line import Done, Epoch, Failed, Line
from app.settings import Settings
from models.data import Upload
from search import early_stopping, gradual_start, study
from search.problem import problem_from
from search.spec import dump, parse
from search.steps import awaits_pruning

FLUSH_SECONDS = 1.0  # epochs are stored, and a cancellation is seen, so often

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """How a run ended. released: given back unfinished; crashed: the trainer died."""

    state: Literal["complete", "pruned", "failed", "cancelled", "released", "crashed"]
    outcome: dict[str, Any] | None = None
    error: str | None = None


class NoPoint(Exception):
    """The search has no point for the slot: its trial has failed, and the worker goes on."""


class Attendance:
    """Every method that writes raises fences.Fenced once the run is another's."""

    def __init__(self, settings: Settings, db: Engine, storage: BaseStorage, trainer: Line, claim: Claim) -> None:
        self._settings, self._db, self._storage = settings, db, storage
        self._trainer, self._claim = trainer, claim
        self._job = jobs.get(db, claim.job_id)
        self._spec = parse(self._job.spec)
        self._unstored: list[dict[str, Any]] = []
        self._renewed = self._looked = time.monotonic()

    def prepare(self, stopping: Callable[[], bool]) -> Ending | None:
        """Has the data at hand. Trains what the slot's point follows from, where it is the start of a pruning run that
        nobody has trained.

        None once the point can be asked for; else how the run has ended before. Raises: app.line.Died;
        blobs.BlobNotFound, uploads.Damaged.
        """
        if isinstance(self._spec.data, Upload):
            assert self._spec.data.sha256 is not None, "filled in where the job was submitted"
            uploads.fetch(self._db, self._settings.state_dir, self._spec.data.sha256, self._renew_in_time)
        problem = problem_from(self._job.problem)
        of_search = self._claim.stage == "search" and self._claim.assignment is None
        if not of_search or not awaits_pruning(self._spec, problem, self._claim.ordinal):
            return None
        spec, point = gradual_start.run(self._spec, problem.layers, problem.samples)
        self._trainer.train(dump(spec), point.to_json(), problem.data_hash)
        reports: list[dict[str, Any]] = []
        ending = None
        while ending is None:
            ending = self._step(stopping, lambda report: self._go_on(reports, report))
        if ending.outcome is None:
            return replace(ending, error=ending.error and f"the pruning run for its counts: {ending.error}")
        found = gradual_start.pruned(self._spec, problem.layers, ending.outcome["nnz"], reports)
        with fences.fence(self._db, self._claim, "asking") as connection:
            jobs.keep_problem(connection, self._job.id, replace(problem, gradual=found))
        self._job = jobs.get(self._db, self._job.id)
        return None

    def begin(self) -> None:
        """Decides what is trained and has the training begin.

        Raises: NoPoint; app.line.Died.
        """
        jobs.open_study(self._db, self._storage, self._job)
        with fences.fence(self._db, self._claim, "asking") as connection:
            # Inside: nobody else can ask for this slot meanwhile, so that it never has two trials of Optuna.
            number, assignment = self._ask()
            at, lease = clock(connection), self._settings.lease_seconds
            fences.begin(connection, self._claim, number, assignment, at, lease)
        self._trainer.train(self._job.spec, assignment, self._job.problem["data_hash"])

    def follow(self, stopping: Callable[[], bool]) -> Ending:
        """Attends to the training until it ends, is cancelled or paused, or `stopping`. Raises: app.line.Died."""
        ending = None
        while ending is None:
            ending = self._step(stopping, self._judge)
        self._store()
        return ending

    def conclude(self, ending: Ending) -> None:
        """Stores the ending, and closes the run where it is over."""
        at = now(self._db)
        match ending.state:
            case "released":
                fences.release(self._db, self._claim, at)
            case "crashed":
                fences.crash(self._db, self._claim, str(ending.error), at, self._settings.max_attempts)
            case state:
                lease = self._settings.lease_seconds
                run = fences.finish(self._db, self._claim, state, ending.outcome, ending.error, at, lease)
                endings.close(self._db, self._storage, run)

    def _ask(self) -> tuple[int | None, dict[str, Any]]:
        if self._claim.assignment is not None:
            return self._claim.number, self._claim.assignment
        problem = problem_from(self._job.problem)
        try:
            number, point = study.ask(self._storage, self._job.study_name, self._spec, problem, self._claim.ordinal)
        except (ArithmeticError, LookupError, ValueError) as error:
            raise NoPoint(f"no point could be made for it: {error}") from error
        return number, point.to_json()

    def _step(self, stopping: Callable[[], bool], judge: Callable[[dict[str, Any]], Ending | None]) -> Ending | None:
        if stopping():
            return Ending("released")
        if time.monotonic() - self._looked >= self._patience() and (halted := self._look()) is not None:
            return halted
        match self._trainer.receive(self._patience()):
            case Epoch(report):
                return judge(report)
            case Done(outcome):
                return Ending("complete", outcome)
            case Failed(reason, traceback):
                log.warning("run %s failed: %s", self._claim.run_id, traceback)
                return Ending("failed", error=reason)
            case None:
                return None

    def _patience(self) -> float:
        return min(FLUSH_SECONDS, self._settings.lease_seconds / 3)

    def _look(self) -> Ending | None:
        """Stores what there is, renews the lease in time; how the run ends where its job is paused or cancelled."""
        self._looked = time.monotonic()
        if not self._store():
            self._renew_in_time()
        match jobs.halted(self._db, self._job.id):
            case "cancelled":
                return Ending("cancelled")
            case "paused":
                return Ending("released")
        return None

    def _renew_in_time(self) -> None:
        if time.monotonic() - self._renewed >= self._settings.lease_seconds / 3:
            fences.renew(self._db, self._claim, now(self._db), self._settings.lease_seconds)
            self._renewed = time.monotonic()

    def _store(self) -> bool:
        if not self._unstored:
            return False
        fences.record(self._db, self._claim, self._unstored, now(self._db), self._settings.lease_seconds)
        self._unstored = []
        self._renewed = time.monotonic()
        return True

    def _go_on(self, reports: list[dict[str, Any]], report: dict[str, Any]) -> None:
        reports.append(report)
        self._trainer.go_on()

    def _judge(self, report: dict[str, Any]) -> Ending | None:
        self._unstored.append(report)
        if self._goes_on(report):
            self._trainer.go_on()
            return None
        return Ending("pruned")

    def _goes_on(self, report: dict[str, Any]) -> bool:
        epoch = report["epoch"]
        if self._claim.stage != "search" or epoch != early_stopping.rung(self._spec):
            return True
        self._store()  # before the others are read: of two trials at this epoch, one sees the other
        by = early_stopping.compared_by(self._spec)
        peers = runs.peers(self._db, self._job.id, self._claim.run_id, epoch, by)
        return early_stopping.goes_on(self._spec, epoch, report[by], sum(report["nnz"]), peers)
