"""Six workers of which one is killed every few seconds, and a server that is restarted: nothing is lost or doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ledger
import pytest
from processes import children, is_alive, until

from app import database, local
from app.client import Client
from app.settings import Settings

WORKERS = 6
PAUSES = (3.0, 5.0)  # seconds between two kills, at least and at most
# Where starting a worker takes longer than a pause, killing them all the time would be all that happens.
LEFT_AT_WORK = 1
CHANCE = random.Random(0)
JOB = {
    "name": "chaos",
    "data": {"kind": "bundled", "name": "digits"},
    "network": {"kind": "mlp", "widths": [32]},
    "training": {"epochs": 10, "batch_size": 64},
    "search": {"trials": 150, "space": {"kind": "free", "low": 0.05, "high": 0.5}},
    "confirm": {"shortlist": 2, "shortlist_seeds": 3, "seeds": 3, "arms": ["same_capacity", "erk"]},
}


class Fleet:
    """Worker processes, each replaced when it was killed."""

    def __init__(self, state_dir: Path) -> None:
        self._command = [sys.executable, "-m", "app.cli", "worker", "--state", str(state_dir)]
        # A slot may be struck more often than bad luck would have it elsewhere: this is not what is tested.
        self._environment = dict(os.environ, SNAS_LEASE_SECONDS="10", SNAS_MAX_ATTEMPTS="20")
        self._log = (state_dir / "workers.log").open("ab")
        self._db = database.engine(Settings(state_dir=state_dir))
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._orphans: list[int] = []
        self.kills = 0
        for _ in range(WORKERS):
            self._start()

    def _start(self) -> None:
        worker = subprocess.Popen(self._command, env=self._environment, stderr=self._log)
        self._workers[worker.pid] = worker

    def strike(self, is_over: Callable[[], bool]) -> None:
        """Kills a worker that holds a run, unless the job is over first."""
        until(lambda: is_over() or len(self._at_work()) >= LEFT_AT_WORK + 1)
        alive = self._at_work()
        if not alive:
            return
        victim = self._workers.pop(CHANCE.choice(alive))
        self._orphans += children(victim.pid)
        victim.kill()
        assert victim.wait() == -signal.SIGKILL, "a worker ended by itself"
        self.kills += 1
        self._start()

    def _at_work(self) -> list[int]:
        return sorted(set(ledger.at_work(self._db)) & set(self._workers))

    def end(self) -> list[int]:
        """The codes with which they ended, asked to."""
        for worker in self._workers.values():
            worker.terminate()
        codes = [worker.wait() for worker in self._workers.values()]
        until(lambda: not any(map(is_alive, self._orphans)))
        self._log.close()
        self._db.dispose()
        return codes


@pytest.mark.slow
def test_no_trial_is_lost_or_doubled_whoever_is_killed(tmp_path: Path) -> None:
    with local.server(tmp_path, None, workers=0) as server, Client(server.url) as client:
        job_id = client.submit(JOB)["id"]
        fleet = Fleet(tmp_path)
        _strike_until(fleet, lambda: client.get(job_id)["progress"]["trials"]["done"] >= 75)
    with local.server(tmp_path, None, workers=0) as server, Client(server.url) as client:
        _strike_until(fleet, lambda: client.get(job_id)["state"] not in ("queued", "running", "confirming"))
        job = client.get(job_id)
    # One that was still starting ends by the signal itself: it has not begun to listen for it, nor to work.
    assert set(fleet.end()) <= {0, -signal.SIGTERM}
    assert job["progress"]["trials"] == {"asked": 150, "done": 150, "running": 0, "pruned": 0, "failed": 0}
    counted = ledger.check(tmp_path, job_id)
    print(f"{fleet.kills} kills: {counted}")
    logs = [tmp_path / "workers.log", server.log]
    assert [log for log in logs if "database is locked" in log.read_text()] == []
    assert [log for log in logs if "Traceback" in log.read_text()] == []


def _strike_until(fleet: Fleet, is_over: Callable[[], bool]) -> None:
    while not is_over():
        time.sleep(CHANCE.uniform(*PAUSES))
        fleet.strike(is_over)
