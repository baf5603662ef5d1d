"""A worker killed in the middle of a trial costs the time of that trial and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ledger
import pytest
from processes import children, is_alive, until
from sqlalchemy import select

from app import database, jobs, queueing, tables
from app.settings import Settings
from search.problem import examine
from search.spec import parse

JOB = {
    "name": "killed",
    "data": {"kind": "bundled", "name": "digits"},
    "network": {"kind": "mlp", "widths": [32]},
    "training": {"epochs": 800, "batch_size": 32},  # seconds: long enough to be met in the middle
    "search": {"trials": 12, "space": {"kind": "free", "low": 0.05, "high": 0.5}},
    "confirm": {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]},
}


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    environment = dict(os.environ, SNAS_LEASE_SECONDS="2")
    command = [sys.executable, "-m", "app.cli", "worker", "--state", str(tmp_path)]
    with (tmp_path / "workers.log").open("wb") as log:
        started = [subprocess.Popen(command, env=environment, stderr=log) for _ in range(2)]
        yield started
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait()


def test_a_killed_workers_trial_is_done_by_another_with_the_same_trial_of_optuna(
    tmp_path: Path, workers: list[subprocess.Popen[bytes]]
) -> None:
    settings = Settings(state_dir=tmp_path)
    database.upgrade(settings)
    db = database.engine(settings)
    spec = parse(JOB)
    job, _ = queueing.submit(db, spec, examine(spec, None))

    def training() -> int | None:
        """The process of a worker whose run has reported an epoch and goes on."""
        query = (
            select(tables.workers.c.pid)
            .join(tables.runs, tables.runs.c.worker_id == tables.workers.c.id)
            .join(tables.curves, tables.curves.c.run_id == tables.runs.c.id)
            .where(tables.runs.c.state == "running")
        )
        with database.reading(db) as connection:
            return connection.execute(query.limit(1)).scalar()

    def held_in_training() -> int | None:
        # Held first, then looked at again: it might have finished between the look and the signal.
        found = training()
        if found is not None:
            os.kill(found, signal.SIGSTOP)
            if training() == found:
                return found
            os.kill(found, signal.SIGCONT)
        return None

    victim = until(held_in_training)
    trainers = children(victim)
    os.kill(victim, signal.SIGKILL)
    until(lambda: not any(map(is_alive, trainers)))
    until(lambda: jobs.get(db, job.id).ended)
    db.dispose()

    counted = ledger.check(settings, job.id)
    assert counted["lost"] == 1
    assert "database is locked" not in (tmp_path / "workers.log").read_text()
