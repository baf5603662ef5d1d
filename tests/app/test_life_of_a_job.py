"""Any order of claims, deaths, releases and endings comes to the same end: every slot once."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from by_hand import LEASE, Hand, problem, spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import database, endings, fences, jobs, queueing, runs
from app.claims import Claim
from app.settings import Settings

TRIALS, MAX_ATTEMPTS = 3, 3
STEPS = st.tuples(st.integers(0, 2), st.sampled_from(["go on", "go on", "fail", "crash", "release", "fall silent"]))


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def time(self) -> float:
        return self.seconds


class Crew:
    """Three workers that may each hold a run, and a clock that all share."""

    def __init__(self, db: Engine, storage: RDBStorage, clock: Clock) -> None:
        self.db, self.storage, self.clock = db, storage, clock
        self.job, _ = queueing.submit(db, spec(trials=TRIALS), problem(spec()))
        self.hands = [Hand(db, storage, str(number)) for number in range(3)]
        self.held: dict[int, tuple[Claim, bool]] = {}

    def step(self, worker: int, act: str) -> None:
        self.clock.seconds += 1.0
        if worker not in self.held:
            claim = self.hands[worker].claim()
            if claim is not None:
                self.held[worker] = claim, False
        elif act == "fall silent":
            self.clock.seconds += 2 * LEASE
            self.sweep()
        else:
            claim, begun = self.held.pop(worker)
            try:
                self._act(worker, claim, begun, act)
            except fences.Fenced:
                assert self._is_lost(claim), "only a run that was lost is fenced"
        self._check()

    def sweep(self) -> None:
        endings.sweep(self.db, self.storage, MAX_ATTEMPTS)

    def _act(self, worker: int, claim: Claim, begun: bool, act: str) -> None:
        hand = self.hands[worker]
        match act:
            case "crash":
                fences.crash(self.db, claim, "it died", self.clock.time(), MAX_ATTEMPTS)
                self.sweep()
            case "release":
                fences.release(self.db, claim, self.clock.time())
            case "fail" if begun:
                hand.finish(claim, "failed")
            case _ if begun:
                hand.finish(claim)
            case _:
                hand.begin(claim)
                self.held[worker] = claim, True

    def _is_lost(self, claim: Claim) -> bool:
        [now] = [run for run in self._search() if run.ordinal == claim.ordinal]
        return now.attempt > claim.attempt or now.state == "failed"

    def _search(self) -> list[runs.RunRow]:
        return runs.of_job(self.db, self.job.id, "search")

    def _check(self) -> None:
        rows = self._search()
        assert [row.ordinal for row in rows] == list(range(len(rows))), "one row per slot, none left out"
        assert len(rows) <= TRIALS
        assert all(row.attempt <= MAX_ATTEMPTS for row in rows)
        numbers = [row.number for row in rows if row.number is not None]
        assert len(numbers) == len(set(numbers)), "no two slots share a trial of Optuna"

    def finish(self) -> None:
        """All three have died; a fourth does what is left."""
        self.clock.seconds += 2 * LEASE
        self.sweep()
        Hand(self.db, self.storage, "fourth").do_all()
        job = jobs.get(self.db, self.job.id)
        ended = Counter(row.state for row in self._search())
        assert job.state == ("completed" if ended["complete"] else "failed")
        assert ended["complete"] + ended["failed"] == TRIALS
        assert Counter(self.hands[0].trials(job).values()) == ended


@given(st.lists(STEPS, max_size=20))
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_every_slot_ends_exactly_once(upgraded_sqlite: Path, steps: list[tuple[int, str]]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        state = Path(directory) / "state"
        shutil.copytree(upgraded_sqlite, state)
        db = database.engine(Settings(state_dir=state))
        storage = database.optuna_storage(Settings(state_dir=state))
        patch.setattr(database, "time", clock)
        crew = Crew(db, storage, clock)
        for worker, act in steps:
            crew.step(worker, act)
        crew.finish()
        storage.remove_session()
        storage.engine.dispose()
        db.dispose()
