"""Slots handed out: the one transaction that keeps the number of trials exact, however many workers ask at once."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, exists, func, insert, or_, select, update

from app import events, tables
from app.database import reading
from app.jobs import ACTIVE
from app.runs import LEASED

MOST_CANDIDATES = 20  # where others took the last slots of so many meanwhile, the next look finds the rest

_jobs, _runs = tables.jobs.c, tables.runs.c


@dataclass(frozen=True)
class Claim:
    """One worker's right to one attempt of a run. A value, not a row: a row would reload its own token.

    number, assignment  known where an earlier attempt has asked already, or nothing needs asking
    """

    run_id: str
    job_id: str
    stage: str
    ordinal: int
    attempt: int
    worker_id: str
    number: int | None
    assignment: dict[str, Any] | None


def claim(db: Engine, worker_id: str, host: str, at: float, lease_seconds: float) -> Claim | None:
    """Leases the next slot to a worker; None where there is nothing to do.

    Repeats come first. Then the job of the highest priority; of equal ones that whose owner has the fewest runs at
    work, of those that which has the fewest itself, of those the oldest. A job's retries and confirmation runs wait as
    rows; the slots of its search are made here, one ordinal after another, while they last, up to its `max_parallel`
    and its deadline.
    """
    with reading(db) as connection:  # most looks of an idle worker find nothing: they need not lock the database
        candidates = connection.execute(_candidates(at)).scalars().all()
    for job_id in candidates:
        with db.begin() as connection:
            claimed = _take(connection, job_id, worker_id, host, at, lease_seconds)
        if claimed is not None:
            return claimed
    return None


def _candidates(at: float) -> Any:
    waiting = and_(_runs.job_id == _jobs.id, _runs.stage == _jobs.stage, _runs.state == "waiting")
    at_work = (
        select(func.count()).where(_runs.job_id == _jobs.id, _runs.state.in_(LEASED)).correlate(tables.jobs)
    ).scalar_subquery()
    theirs = tables.jobs.alias("theirs")
    of_owner = (
        select(func.count())
        .select_from(tables.runs.join(theirs, _runs.job_id == theirs.c.id))
        .where(theirs.c.owner == _jobs.owner, _runs.state.in_(LEASED))
        .correlate(tables.jobs)
    ).scalar_subquery()
    repeats = exists().where(waiting, _is_repeat()).correlate(tables.jobs)
    return (
        select(_jobs.id)
        .where(
            _claimable(),
            or_(_jobs.max_parallel.is_(None), at_work < _jobs.max_parallel),
            or_(exists().where(waiting).correlate(tables.jobs), _has_fresh(at)),
        )
        .order_by(repeats.desc(), _jobs.priority.desc(), of_owner, at_work, _jobs.created, _jobs.id)
        .limit(MOST_CANDIDATES)
    )


def _claimable() -> Any:
    return and_(_jobs.state.in_(ACTIVE), _jobs.cancel_requested.is_(False))


def _has_fresh(at: float) -> Any:
    in_time = or_(_jobs.deadline.is_(None), _jobs.deadline > at)
    return and_(_jobs.stage == "search", _jobs.next_ordinal < _jobs.trials, in_time)


def _is_repeat() -> Any:
    return or_(_runs.attempt > 1, _runs.started.is_not(None))


def _take(
    connection: Connection, job_id: str, worker_id: str, host: str, at: float, lease_seconds: float
) -> Claim | None:
    # The lock on the job's row makes the claims of one job follow each other; SQLite has locked everything already.
    # Without its key: the rows that others insert for the job (events) must not wait for it.
    locked = select(tables.jobs).where(_jobs.id == job_id, _claimable()).with_for_update(key_share=True)
    job = connection.execute(locked).first()
    if job is None or _full(connection, job):
        return None
    lease = {
        "state": "asking",
        "worker_id": worker_id,
        "host": host,
        "lease_until": at + lease_seconds,
        "started": at,
    }
    run_id = _lease_waiting(connection, job, lease) or _lease_fresh(connection, job, lease, at)
    if run_id is None:
        return None
    if job.state == "queued":
        _begin(connection, job, at)
    run = connection.execute(select(tables.runs).where(_runs.id == run_id)).one()
    return Claim(run.id, run.job_id, run.stage, run.ordinal, run.attempt, worker_id, run.number, run.assignment)


def _full(connection: Connection, job: Row[Any]) -> bool:
    if job.max_parallel is None:
        return False
    at_work = select(func.count()).where(_runs.job_id == job.id, _runs.state.in_(LEASED))
    return bool(connection.execute(at_work).scalar_one() >= job.max_parallel)


def _lease_waiting(connection: Connection, job: Row[Any], lease: dict[str, Any]) -> str | None:
    waiting = connection.execute(
        select(_runs.id)
        .where(_runs.job_id == job.id, _runs.stage == job.stage, _runs.state == "waiting")
        .order_by(_is_repeat().desc(), _runs.ordinal)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar()
    if waiting is None:
        return None
    connection.execute(update(tables.runs).where(_runs.id == waiting).values(**lease))
    return str(waiting)


def _lease_fresh(connection: Connection, job: Row[Any], lease: dict[str, Any], at: float) -> str | None:
    taken = connection.execute(
        update(tables.jobs).where(_jobs.id == job.id, _has_fresh(at)).values(next_ordinal=_jobs.next_ordinal + 1)
    )
    if taken.rowcount == 0:
        return None
    run_id = uuid.uuid4().hex
    connection.execute(
        insert(tables.runs).values(
            id=run_id, job_id=job.id, stage="search", ordinal=job.next_ordinal, attempt=1, **lease
        )
    )
    return run_id


def _begin(connection: Connection, job: Row[Any], at: float) -> None:
    deadline = None if job.max_seconds is None else at + job.max_seconds
    connection.execute(
        update(tables.jobs).where(_jobs.id == job.id).values(state="running", started=at, deadline=deadline)
    )
    events.add(connection, job.id, "job.running")
