"""Whoever is killed, whatever the job is at: it ends as it should, with nothing lost, doubled or left open."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ledger
import locks
import pytest
import stores
from forked import Hold, Process, reaping, serving, working
from processes import children, until
from sqlalchemy import Engine, select

from app import database, jobs, pauses, queueing, runs, state, tables
from app.client import Client
from app.settings import Settings
from search.problem import examine
from search.spec import parse

ROLES = ("server", "worker", "reaper", "trial")
PHASES = ("queued", "asking", "running", "finishing", "paused", "cancelling", "confirming")
# How the job is met: its state, whether it is being cancelled, and the states of the runs that the worker holds.
EXPECTED = {
    "queued": ("queued", False, set()),
    "asking": ("running", False, {"asking"}),
    "running": ("running", False, {"running"}),
    "finishing": ("running", False, {"finishing"}),
    "paused": ("paused", False, {"running"}),
    "cancelling": ("running", True, {"running"}),
    "confirming": ("confirming", False, {"running"}),
}
JOB = {
    "name": "struck",
    "data": {"kind": "bundled", "name": "digits"},
    "network": {"kind": "mlp", "widths": [8]},
    "training": {"epochs": 3, "batch_size": 64},
    "search": {"trials": 3, "space": {"kind": "free"}, "sampler": {"kind": "random"}},
    "confirm": {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]},
}


T = TypeVar("T")


class Scene:
    """A job, a worker, and the other process that is to be struck, if it is another."""

    def __init__(self, settings: Settings, role: str, phase: str) -> None:
        self.settings, self.role, self.phase = settings, role, phase
        self._hold = Hold(settings.state_dir)
        database.upgrade(settings)
        beside = {"server": serving, "reaper": reaping}
        self._beside = Process(beside[role], settings) if role in beside else None
        # Where the job is to be met in the queue, its worker comes later, unless it is the one that is struck.
        is_awaited = phase == "queued" and role in beside
        self._worker = None if is_awaited else self._new_worker()
        if phase == "queued" and self._worker is not None:
            until(self._has_looked)  # it has a trainer, and found no work
            self._worker.stop()
        if role == "server":
            until(lambda: state.Address.read(settings.state_dir))
        self.job_id = self._submit()

    def _new_worker(self) -> Process:
        held = self.phase if self.phase in ("asking", "finishing") else None
        return Process(working, self.settings, held, self._hold)

    def _submit(self) -> str:
        if self.role == "server":
            address = state.Address.read(self.settings.state_dir)
            assert address is not None
            with Client(address.url) as client:
                return str(client.submit(JOB)["id"])
        spec = parse(JOB)
        return self.look(lambda db: queueing.submit(db, spec, examine(spec, None))[0].id)

    def arrive(self) -> None:
        """Waits until the job is where it is to be struck, and holds it there."""
        match self.phase:
            case "queued":
                assert self.job().state == "queued"
            case "asking" | "finishing":
                until(self._hold.is_reached)
            case "confirming":
                until(lambda: self._is_held_training(("shortlist", "final")))
            case _:
                until(lambda: self._is_held_training(("search",)))
        if self.phase == "cancelling":
            self.look(lambda db: jobs.cancel(db, self.job_id))
        if self.phase == "paused":
            self.look(lambda db: pauses.pause(db, self.job_id))
        job, rows = self.job(), self.look(lambda db: runs.of_job(db, self.job_id))
        self.met = job.state, job.cancel_requested, {run.state for run in rows if run.state in runs.LEASED}

    def _is_held_training(self, stages: tuple[str, ...]) -> bool:
        # Stopped first, then looked at again: it might have finished between the look and the signal.
        def training() -> bool:
            rows = self.look(lambda db: runs.of_job(db, self.job_id))
            return any(run.state == "running" and run.stage in stages for run in rows)

        if not training():
            return False
        assert self._worker is not None
        self._worker.stop()
        if training() and self.look(lambda db: locks.nobody_writes(self.settings, db)):
            return True
        self._worker.go_on()
        return False

    def rest(self) -> None:
        """Until nobody trains the paused job any more; then it goes on."""
        until(lambda: not self.look(lambda db: ledger.at_work(db)))
        assert self.job().state == "paused"
        self.look(lambda db: pauses.resume(db, self.job_id))

    def strike(self) -> None:
        """Kills with SIGKILL, replaces what does not replace itself, and lets all of it go on."""
        match self.role:
            case "worker":
                assert self._worker is not None
                self._worker.kill()
                self._worker.start()
            case "trial":
                for trainer in self._trainers():
                    os.kill(trainer, signal.SIGKILL)
            case _:
                assert self._beside is not None
                self._beside.kill()
                self._beside.start()
        if self._worker is None:
            self._worker = self._new_worker()
        self._hold.let_go()
        self._worker.go_on()

    def _trainers(self) -> list[int]:
        assert self._worker is not None
        return children(self._worker.pid)

    def _has_looked(self) -> bool:
        # It registers, then says that it is there before each look.
        query = select(tables.workers.c.pid).where(tables.workers.c.last_seen > tables.workers.c.started)
        assert self._worker is not None
        return self.look(lambda db: _only(db, query)) == self._worker.pid

    def look(self, what: Callable[[Engine], T]) -> T:
        """With connections of its own, which no process forked later shares."""
        db = database.engine(self.settings)
        try:
            return what(db)
        finally:
            db.dispose()

    def job(self) -> jobs.Job:
        return self.look(lambda db: jobs.get(db, self.job_id))

    def end(self) -> None:
        for process in (self._worker, self._beside):
            if process is not None:
                process.end()


def _only(db: Engine, query: Any) -> Any:
    with database.reading(db) as connection:
        return connection.execute(query).scalar()


@pytest.fixture
def settings(tmp_path: Path, store: str) -> Iterator[Settings]:
    with stores.database_url(store) as url:
        yield Settings(
            state_dir=tmp_path,
            database_url=url,
            lease_seconds=10.0,
            reaper_seconds=0.2,
            poll_seconds=0.05,
            # A slot may be struck by a slow machine's lost leases too: not what is tested.
            max_attempts=20,
            trainer="sleep",
            sleep_seconds=0.3,
        )


@pytest.fixture
def scene(settings: Settings, role: str, phase: str) -> Iterator[Scene]:
    made = Scene(settings, role, phase)
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.parametrize("store", stores.NAMES)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("phase", PHASES)
def test_the_job_ends_as_it_should(scene: Scene, settings: Settings, phase: str) -> None:
    scene.arrive()
    assert scene.met == EXPECTED[phase]
    scene.strike()
    if phase == "paused":
        scene.rest()
    until(lambda: scene.job().ended)
    if phase == "cancelling":
        assert scene.job().state == "cancelled"
        ledger.check_cancelled(settings, scene.job_id)
    else:
        ledger.check(settings, scene.job_id)
    log = (settings.state_dir / "journey.log").read_text()
    assert "database is locked" not in log
    assert "Traceback" not in log
