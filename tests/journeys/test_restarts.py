"""What is interrupted goes on where it was: after a restart, a kill, and a worker that was held for too long."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from processes import PATIENCE, children, until
from sqlalchemy import Engine, func, select

from app import database, events, jobs, local, queueing, runs, tables
from app.client import Client
from app.settings import Settings
from search import trials
from search.points import Assignment, Outcome
from search.problem import examine
from search.resumable import plain
from search.spec import parse

JOB: dict[str, Any] = {
    "name": "long",
    "data": {"kind": "bundled", "name": "digits", "limit": 300},
    "network": {"kind": "mlp", "widths": [16]},
    "training": {"epochs": 2000, "batch_size": 32},  # longer than epochs wait to be stored, several times
    "search": {"trials": 1, "space": {"kind": "free", "low": 0.05, "high": 0.5}},
    "confirm": None,
}
EVERY_EPOCH = {"SNAS_CHECKPOINT_SECONDS": "0.2"}
Start = Callable[..., subprocess.Popen[bytes]]


def assert_as_if_never_interrupted(state_dir: Path, job_id: str, attempt: int) -> list[int]:
    """The epochs after which its training began, each time."""
    ledger.check(Settings(state_dir=state_dir), job_id)
    db = database.engine(Settings(state_dir=state_dir))
    [run] = runs.of_job(db, job_id)
    stored = runs.curves(db, job_id)[run.id]
    told = [event for event in events.after(db, 0, job_id, limit=100_000) if event.type == "run.started"]
    db.dispose()
    assert run.attempt == attempt
    assert run.assignment is not None
    assert run.outcome is not None
    *reports, outcome = trials.perform(parse(JOB), Assignment.from_json(run.assignment), None)
    assert isinstance(outcome, Outcome)
    assert [row | {"seconds": 0} for row in stored] == [plain(each) | {"seconds": 0} for each in reports]  # type: ignore[arg-type]
    assert run.outcome | {"seconds": 0} == outcome.to_json() | {"seconds": 0}
    return [event.data["after_epoch"] for event in told]


def epochs(db: Engine) -> int:
    with database.reading(db) as connection:
        return connection.execute(select(func.count()).select_from(tables.curves)).scalar_one()


@pytest.mark.slow
def test_a_server_that_is_ended_and_started_again_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAS_CHECKPOINT_SECONDS", "3600")  # what is left behind is left by its end
    monkeypatch.setenv("SNAS_GRACE_SECONDS", "60")
    monkeypatch.setattr(local, "ENDS_WITHIN", PATIENCE)
    with local.server(tmp_path, None, workers=1) as server, Client(server.url) as client:
        job = client.submit(JOB)["id"]
        stream = client.events(job)
        until(lambda: next(stream).data.get("epoch", 0) >= 20)
        stream.close()
    with local.server(tmp_path, None, workers=1) as server, Client(server.url) as client:
        until(lambda: client.get(job)["state"] == "completed")
    first, second = assert_as_if_never_interrupted(tmp_path, job, attempt=1)
    assert first == 0
    assert second >= 20


@pytest.fixture
def submitted(tmp_path: Path) -> Iterator[tuple[Engine, str]]:
    settings = Settings(state_dir=tmp_path)
    database.upgrade(settings)
    db = database.engine(settings)
    yield db, queueing.submit(db, parse(JOB), examine(parse(JOB), None))[0].id
    db.dispose()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker."""
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "app.cli", "worker", "--state", str(tmp_path)]

    def worker(**environment: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "workers.log").open("ab") as log:
            started.append(subprocess.Popen(command, env=dict(os.environ, **EVERY_EPOCH, **environment), stderr=log))
        return started[-1]

    yield worker
    for each in started:
        each.terminate()
    for each in started:
        each.wait()


def test_the_run_of_a_killed_worker_goes_on_from_its_checkpoint(
    tmp_path: Path, submitted: tuple[Engine, str], start: Start
) -> None:
    db, job = submitted
    first = start(SNAS_LEASE_SECONDS="5")
    until(lambda: epochs(db) >= 20 and list((tmp_path / "checkpoints").glob("*.checkpoint")))
    first.kill()
    first.wait()
    start(SNAS_LEASE_SECONDS="5")
    until(lambda: jobs.get(db, job).ended)
    begun = assert_as_if_never_interrupted(tmp_path, job, attempt=2)
    assert begun[0] == 0
    assert begun[1] > 0


@pytest.mark.slow
def test_a_worker_that_is_held_past_its_lease_finds_its_run_gone_and_does_no_harm(
    tmp_path: Path, submitted: tuple[Engine, str], start: Start
) -> None:
    db, job = submitted
    zombie = start(SNAS_LEASE_SECONDS="5")
    until(lambda: epochs(db) >= 20 and list((tmp_path / "checkpoints").glob("*.checkpoint")))
    family = [zombie.pid, *children(zombie.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    heir = start(SNAS_LEASE_SECONDS="5")
    until(lambda: any(run.attempt == 2 and run.state == "running" for run in runs.of_job(db, job)))
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    until(lambda: jobs.get(db, job).ended)
    assert assert_as_if_never_interrupted(tmp_path, job, attempt=2)[1] > 0
    until(lambda: "went to another worker" in (tmp_path / "workers.log").read_text())
    assert zombie.poll() is None
    assert heir.poll() is None
