"""One run from claim to end, as its supervisor sees it: ask, begin, follow the trainer, and say how it ended."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine

from app import endings, fences, jobs, run_files, runs, uploads
from app.claims import Claim
from app.database import clock, now
from app.fences import Left
from app.line import Done, Epoch, Failed, Line
from app.outages import Patience
from app.settings import Settings
from app.usage import Usage
from models.data import Upload
from search import early_stopping, gradual_start, study
from search.cached_studies import CachedStudies
from search.problem import Problem, problem_from
from search.spec import dump, parse
from search.steps import awaits_pruning

FLUSH_SECONDS = 1.0  # epochs are stored, and a cancellation is seen, so often

T = TypeVar("T")

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
    """Every method that writes raises fences.Fenced once the run is another's, and outages.NoAnswer."""

    def __init__(
        self, settings: Settings, db: Engine, studies: CachedStudies, trainer: Line, claim: Claim, patience: Patience
    ) -> None:
        self._settings, self._db = settings, db
        self._trainer, self._claim, self._patiently = trainer, claim, patience
        self._job = patience(lambda: jobs.get(db, claim.job_id))
        self._storage = studies.of(self._job.study_name)
        self._spec = parse(self._job.spec)
        self._unstored: list[dict[str, Any]] = []
        self._renewed = self._looked = self._heard = time.monotonic()
        self._leave_by: float | None = None
        self._used: Usage | None = None
        self._used_before = Usage()

    def prepare(self, stopping: Callable[[], bool]) -> Ending | None:
        """Has the data at hand. Trains what the slot's point follows from, where it is the start of a pruning run that
        nobody has trained.

        None once the point can be asked for; else how the run has ended before. Raises: app.line.Died;
        blobs.BlobNotFound, uploads.Damaged.
        """
        if isinstance(self._spec.data, Upload):
            assert self._spec.data.sha256 is not None, "filled in where the job was submitted"
            self._fetch(self._spec.data.sha256)
        problem = problem_from(self._job.problem)
        of_search = self._claim.stage == "search" and self._claim.assignment is None
        if not of_search or not awaits_pruning(self._spec, problem, self._claim.ordinal):
            return None
        spec, point = gradual_start.run(self._spec, problem.layers, problem.samples)
        self._trainer.train(dump(spec), point.to_json(), problem.data_hash, None)
        reports: list[dict[str, Any]] = []
        ending = None
        while ending is None:
            ending = self._step(stopping, lambda report: self._go_on(reports, report))
        if ending.outcome is None:
            return replace(ending, error=ending.error and f"the pruning run for its counts: {ending.error}")
        self._used_before = self._used or Usage()
        found = gradual_start.pruned(self._spec, problem.layers, ending.outcome["nnz"], reports)
        self._patiently(lambda: self._keep_found(replace(problem, gradual=found)))
        self._job = self._patiently(lambda: jobs.get(self._db, self._job.id))
        return None

    def begin(self) -> None:
        """Decides what is trained and has the training begin. Raises: NoPoint; app.line.Died."""
        self._patiently(lambda: jobs.open_study(self._db, self._storage, self._job))
        behind = self._take_over()
        assignment = self._patiently(lambda: self._decide(behind))
        files = run_files.of(
            self._settings.state_dir, self._claim, self._settings.checkpoint_seconds, epochs=len(behind)
        )
        data_hash = self._job.problem["data_hash"]
        self._trainer.train(self._job.spec, assignment, data_hash, files if self._trainer.keeps_files else None)
        if behind:
            log.info("run %s goes on after epoch %d", self._claim.run_id, len(behind))
        self._heard = time.monotonic()

    def follow(self, stopping: Callable[[], bool]) -> Ending:
        """Attends to the training until it ends, is cancelled or paused, or `stopping`. Raises: app.line.Died.

        Told to stop, it waits for the end of an epoch, so that nothing of it is lost, as long as a trainer is given.
        """
        ending = None
        while ending is None:
            ending = self._step(stopping, self._judge)
        self._store()
        return ending

    def conclude(self, ending: Ending) -> None:
        """Stores the ending, and closes the run where it is over."""
        db, claim, error, left = self._db, self._claim, ending.error, self._left()
        match ending.state:
            case "released":
                self._patiently(lambda: fences.release(db, claim, now(db), left))
            case "crashed":
                most = self._settings.max_attempts
                self._patiently(lambda: fences.crash(db, claim, str(error), now(db), most, left))
            case state:
                outcome, lease = ending.outcome, self._settings.lease_seconds
                run = self._patiently(lambda: fences.finish(db, claim, state, outcome, error, now(db), lease, left))
                self._patiently(lambda: endings.close(db, self._storage, run))

    def _fetch(self, sha256: str) -> None:
        state_dir = self._settings.state_dir
        self._patiently(lambda: uploads.fetch(self._db, state_dir, sha256, self._renew_in_time))

    def _keep_found(self, problem: Problem) -> None:
        with fences.fence(self._db, self._claim, "asking") as connection:
            jobs.keep_problem(connection, self._job.id, problem)

    def _take_over(self) -> Sequence[dict[str, Any]]:
        """The epochs that an earlier worker on this state directory has left behind."""
        assignment = self._claim.assignment
        if assignment is None or not self._trainer.keeps_files:
            return ()
        trained = self._job.spec, assignment, self._job.problem["data_hash"]
        return run_files.take_over(self._settings.state_dir, self._claim, *trained)

    def _decide(self, behind: Sequence[dict[str, Any]]) -> dict[str, Any]:
        asked = None if self._claim.assignment is not None else self._ask()
        with self._alone() as connection:
            number, assignment = self._claim.number, self._claim.assignment
            if asked is not None:
                number, point = _point(asked.settle)
                assignment = point.to_json()
            assert assignment is not None
            at, lease = clock(connection), self._settings.lease_seconds
            fences.begin(connection, self._claim, number, assignment, at, lease, behind)
        return assignment

    def _ask(self) -> study.Asked:
        problem = problem_from(self._job.problem)
        with self._alone():
            given = self._storage, self._job.study_name, self._spec, problem, self._claim.ordinal
            asked = _point(lambda: study.Asked.begin(*given))
        _point(asked.draw)  # outside: where samplers think for long, other workers would wait
        return asked

    def _alone(self) -> AbstractContextManager[Connection]:
        """Inside nobody else writes to Optuna for this slot: it never has two trials, or the parameters of another."""
        return fences.fence(self._db, self._claim, "asking")

    def _left(self) -> Left:
        if not self._trainer.keeps_files:
            return Left(self._used)
        claim = self._claim
        file = run_files.log_file(self._settings.state_dir, claim.job_id, claim.stage, claim.ordinal, claim.attempt)
        try:
            return Left(self._used, run_files.tail(file))
        except OSError as error:  # its result is worth more than its log
            log.warning("the log of run %s is not kept: %s", claim.run_id, error)
            return Left(self._used)

    def _step(self, stopping: Callable[[], bool], judge: Callable[[dict[str, Any]], Ending | None]) -> Ending | None:
        if stopping():
            self._leave_soon()
        if self._leave_by is not None and time.monotonic() >= self._leave_by:
            return Ending("released")
        if self._is_overdue():
            return Ending("crashed", error=f"it reported nothing for {self._settings.run_minutes:g} minutes")
        if time.monotonic() - self._looked >= self._pause() and self._look():
            return Ending("cancelled")
        match self._trainer.receive(self._pause()):
            case Epoch(report, used):
                self._heard = time.monotonic()
                self._use(used)
                return judge(report)
            case Done(outcome, used):
                self._use(used)
                return Ending("complete", outcome)
            case Failed(reason, traceback, used):
                self._use(used)
                log.warning("run %s failed: %s", self._claim.run_id, traceback)
                return Ending("failed", error=reason)
            case None:
                return None

    def _use(self, used: Usage | None) -> None:
        if used is not None:
            self._used = self._used_before.and_then(used)

    def _is_overdue(self) -> bool:
        minutes = self._settings.run_minutes
        return minutes is not None and time.monotonic() - self._heard >= 60 * minutes

    def _pause(self) -> float:
        return min(FLUSH_SECONDS, self._settings.lease_seconds / 3)

    def _look(self) -> bool:
        """Stores what there is, renews the lease in time; True where the job is being cancelled."""
        self._looked = time.monotonic()
        if not self._store():
            self._renew_in_time()
        halted = self._patiently(lambda: jobs.halted(self._db, self._job.id))
        if halted == "paused":
            self._leave_soon()
        return halted == "cancelled"

    def _leave_soon(self) -> None:
        """At the end of the epoch, where that comes in time."""
        if self._leave_by is None:
            grace = self._settings.grace_seconds if self._trainer.keeps_files else 0.0
            self._leave_by = time.monotonic() + grace

    def _renew_in_time(self) -> None:
        if time.monotonic() - self._renewed >= self._settings.lease_seconds / 3:
            lease = self._settings.lease_seconds
            self._patiently(lambda: fences.renew(self._db, self._claim, now(self._db), lease))
            self._renewed = time.monotonic()

    def _store(self) -> bool:
        if not self._unstored:
            return False
        lease = self._settings.lease_seconds
        self._patiently(lambda: fences.record(self._db, self._claim, self._unstored, now(self._db), lease))
        self._unstored = []
        self._renewed = time.monotonic()
        return True

    def _go_on(self, reports: list[dict[str, Any]], report: dict[str, Any]) -> Ending | None:
        if self._leave_by is not None:
            return Ending("released")  # it has no checkpoint to wait for
        reports.append(report)
        self._trainer.go_on()
        return None

    def _judge(self, report: dict[str, Any]) -> Ending | None:
        self._unstored.append(report)
        if not self._goes_on(report):
            return Ending("pruned")
        if self._leave_by is not None:
            self._trainer.leave(self._leave_by - time.monotonic())
            return Ending("released")
        self._trainer.go_on()
        return None

    def _goes_on(self, report: dict[str, Any]) -> bool:
        epoch = report["epoch"]
        if self._claim.stage != "search" or epoch != early_stopping.rung(self._spec):
            return True
        self._store()  # before the others are read: of two trials at this epoch, one sees the other
        by = early_stopping.compared_by(self._spec)
        peers = self._patiently(lambda: runs.peers(self._db, self._job.id, self._claim.run_id, epoch, by))
        return early_stopping.goes_on(self._spec, epoch, report[by], sum(report["nnz"]), peers)


def _point(found: Callable[[], T]) -> T:
    try:
        return found()
    except (ArithmeticError, LookupError, ValueError) as error:
        raise NoPoint(f"no point could be made for it: {error}") from error
