"""Everybody is killed at random while a job runs: is every trial done exactly once?

Through the shipped commands: a server (killed three times), a reaper of its own, workers. Every second or two a worker
or its trainer that holds a run is killed with SIGKILL and replaced; every twentieth victim is made a zombie instead:
stopped until its lease is over and others have taken its run, then woken. Prints what was done and exits with 1 where
an invariant does not hold.

    python tests/journeys/chaos.py --trials 500 --digits 30
"""

import os
import random
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ledger
import locks
import stores
from fleet import Command, Fleet
from processes import until
from sqlalchemy import Engine, func, select

from app import database, tables
from app.client import Client
from app.jobs import ENDED
from app.settings import Settings

WORKERS = 8
LEFT_AT_WORK = 1  # where starting a worker takes longer than a pause, killing would be all that happens
ZOMBIES = 20  # every so many strikes one is stopped instead of killed; the first of them early
REAPERS = 15  # every so many the reaper is killed too
LEASE, BEYOND_LEASE = 6.0, 2.0  # seconds; of a zombie's sleep what is beyond is for a sweep to see it
# The server is killed when so much of the search is done.
SERVER_DIES_AT = (0.2, 0.4, 0.6)
# A slot may be struck more often than bad luck would have it elsewhere: this is not what is tested.
MAX_ATTEMPTS = 50


@dataclass(frozen=True)
class Rehearsal:
    """pause: seconds between two strikes, at least and at most."""

    job: dict[str, Any]
    trainer: str
    pause: tuple[float, float]


def sleeping(trials: int) -> Rehearsal:
    job = {
        "name": "chaos",
        "data": {"kind": "bundled", "name": "digits"},
        "network": {"kind": "mlp", "widths": [32]},
        "training": {"epochs": 5, "batch_size": 64},
        # Not the model of TPE, whose cost grows with the trials: the service is what is tried.
        "search": {"trials": trials, "space": {"kind": "free"}, "sampler": {"kind": "random"}},
        "confirm": None,
    }
    return Rehearsal(job, "sleep", (1.0, 2.0))


def training(trials: int) -> Rehearsal:
    job = {
        "name": "chaos of digits",
        "data": {"kind": "bundled", "name": "digits"},
        "network": {"kind": "mlp", "widths": [32]},
        "training": {"epochs": 300, "batch_size": 64},
        "search": {"trials": trials, "space": {"kind": "free", "low": 0.05, "high": 0.5}},
        "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 2, "arms": ["same_capacity", "erk"]},
    }
    return Rehearsal(job, "train", (5.0, 5.0))


class Chaos:
    """One job, and whoever is struck while it runs."""

    def __init__(
        self, fleet: Fleet, settings: Settings, db: Engine, job_id: str, trials: int, chance: random.Random
    ) -> None:
        self._fleet, self._settings, self._db, self._job_id, self._chance = fleet, settings, db, job_id, chance
        self._strikes = 0
        self._asleep: dict[Command, float] = {}  # zombies, and when they wake
        self._server_dies_at = [share * trials for share in SERVER_DIES_AT]
        self.zombies: list[int] = []

    def rage(self, pause: tuple[float, float]) -> None:
        """Until the job is over; leaves nobody asleep."""
        while not self._is_over():
            struck_at = time.monotonic() + self._chance.uniform(*pause)
            until(lambda at=struck_at: self._is_over() or (time.monotonic() >= at and self._can_spare_one()))
            if not self._is_over():
                self._strike()
        until(self._all_awake)

    def _can_spare_one(self) -> bool:
        self._strike_server()
        self._wake()
        return len(self._at_work()) > LEFT_AT_WORK

    def _all_awake(self) -> bool:
        self._wake()
        return not self._asleep

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes % REAPERS == 0:
            self._fleet.strike("reaper", self._fleet.reaper)
        at_work = self._at_work()
        if not at_work:
            return
        victim = self._chance.choice(at_work)
        if len(self.zombies) * ZOMBIES + 3 <= self._strikes and self._put_to_sleep(victim):
            return
        if self._chance.random() < 0.5:
            self._fleet.strike("worker", victim)
        else:
            self._fleet.strike_trainer(victim)

    def _strike_server(self) -> None:
        if self._server_dies_at and self._count_done() >= self._server_dies_at[0]:
            del self._server_dies_at[0]
            self._fleet.strike("server", self._fleet.server)

    def _put_to_sleep(self, victim: Command) -> bool:
        os.kill(victim.pid, signal.SIGSTOP)
        # Looked at again, now that it cannot move: only one that trains is surely fenced when it wakes.
        trains = victim.pid in ledger.at_work(self._db, "running")
        sleeps = trains and locks.nobody_writes(self._settings, self._db)
        if sleeps:
            self._asleep[victim] = time.monotonic() + LEASE + BEYOND_LEASE
            self.zombies.append(victim.pid)
        else:
            os.kill(victim.pid, signal.SIGCONT)
        return sleeps

    def _wake(self) -> None:
        """The zombies whose time has come, and whose runs are others' by now."""
        due = [zombie for zombie, at in self._asleep.items() if time.monotonic() >= at]
        for zombie in due:
            if zombie.pid not in ledger.at_work(self._db, "running"):
                os.kill(zombie.pid, signal.SIGCONT)
                del self._asleep[zombie]

    def _at_work(self) -> list[Command]:
        holding = set(ledger.at_work(self._db))
        return [each for each in self._fleet.workers if each.pid in holding and each not in self._asleep]

    def _is_over(self) -> bool:
        with database.reading(self._db) as connection:
            state = connection.execute(select(tables.jobs.c.state).where(tables.jobs.c.id == self._job_id)).scalar()
        return state in ENDED

    def _count_done(self) -> int:
        complete = select(func.count()).where(tables.runs.c.job_id == self._job_id, tables.runs.c.state == "complete")
        with database.reading(self._db) as connection:
            return int(connection.execute(complete).scalar_one())


def rehearse(rehearsal: Rehearsal, store: str, state_dir: Path, url: str | None, workers: int, seed: int = 0) -> str:
    """What was done and what came of it, in a line. Raises: AssertionError for what must not be."""
    settings = Settings(
        state_dir=state_dir,
        database_url=url,
        lease_seconds=LEASE,
        max_attempts=MAX_ATTEMPTS,
        trainer=rehearsal.trainer,  # type: ignore[arg-type]
    )
    trials = rehearsal.job["search"]["trials"]
    began = time.monotonic()
    fleet = Fleet(settings, workers)
    try:
        with Client(fleet.url()) as client:
            job_id = client.submit(rehearsal.job)["id"]
        db = database.engine(settings)
        chaos = Chaos(fleet, settings, db, job_id, trials, random.Random(seed))
        chaos.rage(rehearsal.pause)
        took = time.monotonic() - began
        db.dispose()
        with Client(fleet.url()) as client:
            told = client.get(job_id)["progress"]["trials"]
        fenced = until(lambda: _fenced(fleet.log, chaos.zombies))
        fleet.end()
    finally:
        fleet.kill_all()
    assert told == {"asked": trials, "done": trials, "running": 0, "pruned": 0, "failed": 0}, told
    assert fleet.kills["server"] == len(SERVER_DIES_AT), f"the server was killed {fleet.kills['server']} times"
    counted = ledger.check(settings, job_id)
    log = fleet.log.read_text()
    assert "database is locked" not in log, f"see {fleet.log}"
    assert "Traceback" not in log, f"see {fleet.log}"
    killed = ", ".join(f"{role} {number}" for role, number in sorted(fleet.kills.items()))
    return (
        f"{rehearsal.job['name']}, {store}: {counted['complete']} runs complete, {counted.get('lost', 0)} attempts lost"
        f" and repeated; killed: {killed}; zombies {len(chaos.zombies)}, fenced {fenced - 1};"
        f" trials lost or doubled 0; {took:.0f} s"
    )


def _fenced(log: Path, zombies: list[int]) -> int:
    """1 + how many there are, once each of them has found its run another's; 0 until then."""
    lines = log.read_text().splitlines()
    found = [any(f" worker {pid} " in line and "went to another worker" in line for line in lines) for pid in zombies]
    return 1 + len(found) if all(found) else 0


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500, help="that sleep; 0 for none")
    parser.add_argument("--digits", type=int, default=30, help="that train; 0 for none")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--store", choices=stores.NAMES, action="append", help="given once or twice; default: both")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: list[tuple[int, Callable[[int], Rehearsal]]] = [(options.trials, sleeping), (options.digits, training)]
    broken = 0
    for store in options.store or stores.NAMES:
        for trials, kind in kinds:
            if trials == 0:
                continue
            with tempfile.TemporaryDirectory() as directory, stores.database_url(store) as url:
                try:
                    line = rehearse(kind(trials), store, Path(directory), url, options.workers, options.seed)
                except AssertionError as error:
                    broken += 1
                    line = f"{store}: BROKEN: {error}\n{_last_lines(Path(directory) / 'fleet.log')}"
                print(line, flush=True)
    return 1 if broken else 0


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


if __name__ == "__main__":
    sys.exit(main())
