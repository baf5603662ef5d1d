"""Owners, workers, servers and the clock in any order: what must hold of every job after each step, and in the end.

Two servers and three workers share one database. Workers claim, ask, begin, record, end, crash, give back, fall silent
and wake up again; owners pause, resume, cancel, clone and change; leases and deadlines run out. Nothing is trained.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import pytest
from by_hand import LEASE, Hand, epoch, problem, spec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from optuna.storages import RDBStorage
from sqlalchemy import Engine, Row, delete, literal, select
from starlette.testclient import TestClient

from app import database, endings, events, fences, jobs, queueing, tables
from app.callers import SUBMIT, Caller
from app.claims import Claim
from app.database import now, reading
from app.main import create_app
from app.reaper import Reaper
from app.runs import LEASED, OPEN
from app.settings import Settings
from search import study
from search.problem import Problem

LOOPBACK = "http://127.0.0.1:8000"
MAX_ATTEMPTS = 3
MOST_JOBS = 3
WORKERS, SERVERS = st.integers(0, 2), st.integers(0, 1)
PICK = st.integers(0, 11)
CONFIRM = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]}
_jobs, _runs = tables.jobs.c, tables.runs.c


class Clock:
    """Stands in for the module `time`, and for the functions of SQL that tell PostgreSQL's time."""

    seconds = 1000.0

    def time(self) -> float:
        return self.seconds

    def clock_timestamp(self) -> None:
        return None

    def extract(self, *_: object) -> Any:
        return literal(self.seconds)


@dataclass(frozen=True)
class Held:
    """A claim, and who believes to hold it."""

    hand: Hand
    claim: Claim
    epochs: int | None = None
    """None until its training began"""


@dataclass
class World:
    """What all examples share; `clear` empties it."""

    db: Engine
    storage: RDBStorage
    clock: Clock
    servers: list[TestClient]
    reapers: list[Reaper]
    steps: int = 0

    def clear(self) -> None:
        with self.db.begin() as connection:
            for table in reversed(tables.metadata.sorted_tables):
                connection.execute(delete(table))


class Life(RuleBasedStateMachine):
    def __init__(self, world: World) -> None:
        super().__init__()
        world.clear()
        self.world, self.db, self.storage, self.clock = world, world.db, world.storage, world.clock
        self.born = 0
        self.hands = [self._hand() for _ in range(3)]
        self.held: dict[int, Held] = {}
        self.zombies: list[Held] = []

    # Owners

    @initialize(confirmed=st.booleans())
    def begin_with_a_job(self, confirmed: bool) -> None:
        self._submit("ann", 2, confirmed, None, None)

    @precondition(lambda self: len(self._rows()) < MOST_JOBS)
    @rule(
        owner=st.sampled_from(["ann", "bob"]),
        trials=st.integers(1, 3),
        confirmed=st.booleans(),
        max_failed=st.sampled_from([None, None, 0, 1]),
        max_minutes=st.sampled_from([None, None, 2.0]),
    )
    def submit(
        self, owner: str, trials: int, confirmed: bool, max_failed: int | None, max_minutes: float | None
    ) -> None:
        self._submit(owner, trials, confirmed, max_failed, max_minutes)

    @rule(server=SERVERS, pick=PICK)
    def pause(self, server: int, pick: int) -> None:
        job = self._pick(pick)
        self._post(server, job, "pause", 409 if job.state in jobs.ENDED or job.cancel_requested else 202)

    @rule(server=SERVERS, pick=PICK)
    def resume(self, server: int, pick: int) -> None:
        job = self._pick(pick)
        self._post(server, job, "resume", 202 if job.state == "paused" else 409)

    @rule(server=SERVERS, pick=PICK)
    def cancel(self, server: int, pick: int) -> None:
        job = self._pick(pick)
        self._post(server, job, "cancel", 409 if job.state in jobs.ENDED else 202)

    @precondition(lambda self: len(self._rows()) < MOST_JOBS)
    @rule(server=SERVERS, pick=PICK)
    def clone(self, server: int, pick: int) -> None:
        self._post(server, self._pick(pick), "clone", 201, {"search": {"trials": 2}, "confirm": None})

    @rule(server=SERVERS, pick=PICK, priority=st.integers(-1, 1), limit=st.sampled_from([None, 1, 2]))
    def change(self, server: int, pick: int, priority: int, limit: int | None) -> None:
        job = self._pick(pick)
        status = 409 if job.state in jobs.ENDED or job.cancel_requested else 200
        self._patch(server, job, {"priority": priority, "max_parallel": limit}, status)

    @rule(server=SERVERS, pick=PICK, more=st.integers(1, 2))
    def ask_for_more_trials(self, server: int, pick: int, more: int) -> None:
        job = self._pick(pick)
        searching = job.stage == "search" and job.state not in jobs.ENDED and not job.cancel_requested
        if job.trials + more <= 6:
            status = 200 if searching or job.state == "completed" else 409
            self._patch(server, job, {"trials": job.trials + more}, status)

    # Workers

    @rule(worker=WORKERS)
    def claim(self, worker: int) -> None:
        if worker in self.held:
            return
        expected = self._first_in_line()
        claim = self.hands[worker].claim()
        assert (claim.job_id if claim else None) == expected
        if claim is not None:
            [(job, found)] = [each for each in self._all() if each[0].id == claim.job_id]
            assert job.state in ("running", "confirming")
            assert job.max_parallel is None or _at_work(found) <= job.max_parallel
            self.held[worker] = Held(self.hands[worker], claim)

    @rule(worker=WORKERS, act=st.sampled_from(["go on", "go on", "go on", "fail", "prune", "crash", "release", "look"]))
    def work(self, worker: int, act: str) -> None:
        if worker in self.held:
            after = self._act(self.held.pop(worker), act)
            if after is not None:
                self.held[worker] = after

    @rule(worker=WORKERS, act=st.sampled_from(["ask", "store", "tell"]))
    def die_in_the_middle(self, worker: int, act: str) -> None:
        """A kill between two databases: after Optuna's trial, our row's end, Optuna's."""
        if worker not in self.held:
            return
        held = self.held.pop(worker)
        self.hands[worker] = self._hand()
        try:
            self._die(held, act)
        except fences.Fenced:
            assert not self._holds(held.claim, "asking", "running")

    @rule(worker=WORKERS)
    def fall_silent(self, worker: int) -> None:
        if worker in self.held:
            self.zombies.append(self.held.pop(worker))
            self.hands[worker] = self._hand()

    @precondition(lambda self: self.zombies)
    @rule(pick=PICK, act=st.sampled_from(["go on", "fail", "crash", "release", "look"]))
    def wake_up(self, pick: int, act: str) -> None:
        after = self._act(self.zombies.pop(pick % len(self.zombies)), act)
        if after is not None:
            self.zombies.append(after)

    # Time

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE + 1, 200.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule()
    def sweep(self) -> None:
        endings.sweep(self.db, self.storage, MAX_ATTEMPTS)

    @rule(server=SERVERS)
    def reap(self, server: int) -> None:
        self.world.reapers[server].look(self.db, self.storage)

    # What holds

    @invariant()
    def every_job_is_whole(self) -> None:
        self.world.steps += 1
        self.clock.seconds += 0.25
        self._check()

    def _check(self) -> None:
        for job, found in self._all():
            _check_slots(job, found)
            _check_holders(found)
            self._check_trials(job, found)
            self._check_state(job, found)
        believed = [each for each in [*self.held.values(), *self.zombies] if self._holds(each.claim, *LEASED)]
        assert len({each.claim.run_id for each in believed}) == len(believed), "one holder per run"

    def _check_trials(self, job: Row[Any], found: list[Row[Any]]) -> None:
        """Optuna has no trial beyond the slots, and none runs whose slot is over."""
        if job.optuna_study_id is None:
            return
        known = self.storage.get_all_trials(job.optuna_study_id, deepcopy=False)
        ordinals = [trial.user_attrs["ordinal"] for trial in known]
        assert len(set(ordinals)) == len(ordinals) <= job.next_ordinal
        state = {run.ordinal: run.state for run in found if run.stage == "search"}
        for trial in known:
            if not trial.state.is_finished():
                assert state[trial.user_attrs["ordinal"]] in OPEN

    def _check_state(self, job: Row[Any], found: list[Row[Any]]) -> None:
        assert (job.state == "paused") == (job.paused_at is not None)
        assert (job.state in jobs.ENDED) == (job.finished is not None)
        assert (job.state == "completed") == (job.report is not None)
        if job.state in jobs.ENDED:
            assert not [run for run in found if run.state in OPEN]
            assert events.after(self.db, 0, job.id)[-1].type == f"job.{job.state}"
        failed = sum(run.stage == "search" and run.state == "failed" for run in found)
        if job.max_failed is not None and job.state in jobs.ACTIVE and not job.cancel_requested:
            assert failed <= job.max_failed
        if job.state == "completed":
            self._is_whole(job, found)

    def _is_whole(self, job: Row[Any], found: list[Row[Any]]) -> None:
        ended = Counter(run.state for run in found if run.stage == "search" and run.state != "lost")
        told = Counter(trial.state for trial in study.trials(self.storage, job.study_name))
        assert ended == told
        if job.max_seconds is None:
            assert ended["complete"] + ended["pruned"] + ended["failed"] == job.trials

    def teardown(self) -> None:
        """Whoever is at work has died; one worker does what is left, and every job comes to its end."""
        self.clock.seconds += 2 * LEASE
        for job in self._rows():
            if job.state == "paused":
                self._post(0, job, "resume", 202)
        for _ in range(MOST_JOBS * MAX_ATTEMPTS):
            if all(job.state in jobs.ENDED for job in self._rows()):
                break
            self.clock.seconds += 2 * LEASE
            endings.sweep(self.db, self.storage, MAX_ATTEMPTS)
            self._hand().do_all()
            self.world.reapers[0].look(self.db, self.storage)
        states = [job.state for job in self._rows()]
        assert set(states) <= set(jobs.ENDED), states
        self._check()

    # How it is done

    def _hand(self) -> Hand:
        self.born += 1
        return Hand(self.db, self.storage, f"worker {self.born}")

    def _submit(
        self, owner: str, trials: int, confirmed: bool, max_failed: int | None, max_minutes: float | None
    ) -> None:
        limits = {"max_failed": max_failed, "max_minutes": max_minutes}
        asked = spec(confirm=CONFIRM if confirmed else None, trials=trials, sampler={"kind": "random"}, **limits)
        queueing.submit(self.db, asked, _problem(), by=Caller(owner, SUBMIT))

    def _act(self, held: Held, act: str) -> Held | None:
        """What the holder has afterwards; None where it is rid of the run."""
        hand, claim = held.hand, held.claim
        try:
            match act:
                case "crash":
                    fences.crash(self.db, claim, "it died", now(self.db), MAX_ATTEMPTS)
                case "release":
                    fences.release(self.db, claim, now(self.db))
                case "look":
                    return self._look(held)
                case "fail":
                    hand.finish(claim, "failed")
                case "prune" if held.epochs and claim.stage == "search":
                    hand.finish(claim, "pruned")
                case _ if held.epochs is None:
                    hand.begin(claim)
                    return replace(held, epochs=0)
                case _ if held.epochs == 0:
                    fences.record(self.db, claim, [epoch(1)], now(self.db), LEASE)
                    return replace(held, epochs=1)
                case _:
                    hand.finish(claim)
        except fences.Fenced:
            assert not self._holds(claim, "asking", "running")
        return None

    def _look(self, held: Held) -> Held | None:
        match jobs.halted(self.db, held.claim.job_id):
            case "cancelled":
                held.hand.finish(held.claim, "cancelled")
            case "paused":
                fences.release(self.db, held.claim, now(self.db))
            case None:
                return held
        return None

    def _die(self, held: Held, act: str) -> None:
        hand, claim = held.hand, held.claim
        if act == "ask":
            if held.epochs is None:
                with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
                    patch.setattr(fences, "begin", _killed)
                    hand.begin(claim)
            return
        run = hand.store_end(claim, "failed" if held.epochs is None else "complete")
        if act == "tell" and run.stage == "search":
            endings.tell(self.db, self.storage, run)

    def _holds(self, claim: Claim, *states: str) -> bool:
        with reading(self.db) as connection:
            return connection.execute(select(_runs.id).where(fences._held(claim, states))).first() is not None

    def _first_in_line(self) -> str | None:
        """The job that the next claim is to serve, worked out from all rows in Python."""
        everything = self._all()
        keys = []
        for job, found in everything:
            waiting = [run for run in found if run.state == "waiting" and run.stage == job.stage]
            in_time = job.deadline is None or job.deadline > self.clock.seconds
            fresh = job.stage == "search" and job.next_ordinal < job.trials and in_time
            full = job.max_parallel is not None and _at_work(found) >= job.max_parallel
            if job.state not in jobs.ACTIVE or job.cancel_requested or full or not (waiting or fresh):
                continue
            repeat = any(run.attempt > 1 or run.started is not None for run in waiting)
            theirs = sum(_at_work(runs) for other, runs in everything if other.owner == job.owner)
            keys.append((not repeat, -job.priority, theirs, _at_work(found), job.created, job.id))
        return str(min(keys)[-1]) if keys else None

    def _all(self) -> list[tuple[Row[Any], list[Row[Any]]]]:
        """Every job with its runs, of all stages and attempts in order."""
        ordered = select(tables.runs).order_by(_runs.stage, _runs.ordinal, _runs.attempt)
        with reading(self.db) as connection:
            rows = list(connection.execute(select(tables.jobs).order_by(_jobs.created, _jobs.id)))
            found = list(connection.execute(ordered))
        return [(job, [run for run in found if run.job_id == job.id]) for job in rows]

    def _rows(self) -> list[Row[Any]]:
        with reading(self.db) as connection:
            return list(connection.execute(select(tables.jobs).order_by(_jobs.created, _jobs.id)))

    def _pick(self, pick: int) -> Row[Any]:
        rows = self._rows()
        return rows[pick % len(rows)]

    def _post(self, server: int, job: Row[Any], what: str, status: int, body: Any = None) -> None:
        answer = self.world.servers[server].post(f"/api/v1/jobs/{job.id}/{what}", json=body)
        assert answer.status_code == status, answer.text

    def _patch(self, server: int, job: Row[Any], changes: dict[str, Any], status: int) -> None:
        answer = self.world.servers[server].patch(f"/api/v1/jobs/{job.id}", json=changes)
        assert answer.status_code == status, answer.text


def _check_slots(job: Row[Any], found: list[Row[Any]]) -> None:
    """Each slot has one row that is not lost, the last of its attempts; the search has no slot but those handed out."""
    slots: dict[tuple[str, int], list[Row[Any]]] = {}
    for run in found:
        slots.setdefault((run.stage, run.ordinal), []).append(run)
    for attempts in slots.values():
        assert [run.attempt for run in attempts] == list(range(1, len(attempts) + 1))
        assert len(attempts) <= MAX_ATTEMPTS
        assert [run.state == "lost" for run in attempts] == [True] * (len(attempts) - 1) + [False]
    assert sorted(ordinal for stage, ordinal in slots if stage == "search") == list(range(job.next_ordinal))
    assert job.next_ordinal <= job.trials
    assert len({stage for stage, _ in slots if stage.startswith("shortlist:")}) <= len(job.earlier)


def _check_holders(found: list[Row[Any]]) -> None:
    for run in found:
        if run.state in ("asking", "running"):
            assert run.worker_id is not None
            assert run.lease_until is not None
        if run.state == "waiting":
            assert run.worker_id is run.lease_until is None


def _at_work(found: list[Row[Any]]) -> int:
    return sum(run.state in LEASED for run in found)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@lru_cache
def _problem() -> Problem:
    return problem(spec())


@pytest.fixture
def world(store: Settings, db: Engine, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    clock = Clock()
    apps = [create_app(store) for _ in range(2)]
    monkeypatch.setattr(database, "time", clock)
    monkeypatch.setattr(database, "func", clock)
    servers = [TestClient(app, base_url=LOOPBACK) for app in apps]
    yield World(db, storage, clock, servers, [Reaper(store) for _ in range(2)])
    for app in apps:
        app.state.db.dispose()
        app.state.storage.remove_session()
        app.state.storage.engine.dispose()


def explore(world: World, examples: int, steps: int) -> None:
    depth = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, phases=[Phase.generate]
    )
    run_state_machine_as_test(lambda: Life(world), settings=depth)
    print(f"{world.steps} steps on {world.db.dialect.name}")


def test_whatever_owners_workers_and_time_do_every_job_stays_whole(world: World) -> None:
    explore(world, examples=5, steps=25)


@pytest.mark.slow
def test_the_same_for_thousands_of_steps(world: World) -> None:
    explore(world, examples=100, steps=50)
