"""What the holder of a claim may write, and how a claim is lost.

Every write of a worker names its run, attempt and worker, and the state it believes in. A worker that was thought dead
and wakes up (a zombie) matches no row any more: it is fenced, and its trial, by then another's, is left alone.
"""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select, update

from app import events, run_files, run_logs, tables
from app.claims import Claim
from app.database import reading
from app.runs import COLUMNS, LEASED, RunRow
from app.usage import Usage

_jobs, _runs, _curves = tables.jobs.c, tables.runs.c, tables.curves.c


@dataclass(frozen=True)
class Left:
    """What a part of a run left behind. used: None where nothing was told of it; written: the end of its log."""

    used: Usage | None = None
    written: str = ""


NOTHING = Left()


class Fenced(Exception):
    """The run is no longer this worker's: its lease had ended and another took over, or it was closed."""


@contextmanager
def fence(db: Engine, claim: Claim, *states: str) -> Iterator[Connection]:
    """A transaction in which the run is surely this worker's, and stays so to its end. Raises: Fenced."""
    with db.begin() as connection:
        held = connection.execute(select(_runs.id).where(_held(claim, states)).with_for_update()).first()
        if held is None:
            raise Fenced(f"run {claim.run_id}, attempt {claim.attempt}")
        yield connection


def begin(
    connection: Connection,
    claim: Claim,
    number: int | None,
    assignment: Mapping[str, Any],
    at: float,
    lease_seconds: float,
    behind: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Inside a fence: what will be trained is known, training begins. Renews the lease: asking may have taken long.

    behind  the epochs after which it goes on: those stored from now on follow them, whatever was stored before
    """
    values = {"state": "running", "number": number, "assignment": dict(assignment), "started": at}
    connection.execute(
        update(tables.runs).where(_runs.id == claim.run_id).values(**values, lease_until=at + lease_seconds)
    )
    told = _told(connection, claim)
    connection.execute(delete(tables.curves).where(_curves.run_id == claim.run_id))
    rows = [_row(report) for report in behind]
    _store(connection, claim, rows)
    started = {"trial": number, "label": assignment["label"], "after_epoch": len(behind)}
    events.add(connection, claim.job_id, "run.started", _who(claim) | started)
    for row in rows[told:]:  # its worker died between the checkpoint and the telling
        events.add(connection, claim.job_id, "run.epoch", _who(claim) | row)


def renew(db: Engine, claim: Claim, at: float, lease_seconds: float) -> None:
    """Raises: Fenced."""
    with fence(db, claim, "asking", "running") as connection:
        _extend(connection, claim, at + lease_seconds)


def record(db: Engine, claim: Claim, reports: Sequence[Mapping[str, Any]], at: float, lease_seconds: float) -> None:
    """Stores epochs and tells them; renews the lease too. May be repeated: what is stored is left. Raises: Fenced."""
    with fence(db, claim, "running") as connection:
        _extend(connection, claim, at + lease_seconds)
        stored = connection.execute(select(func.max(_curves.epoch)).where(_curves.run_id == claim.run_id)).scalar()
        rows = [_row(report) for report in reports if report["epoch"] > (stored or 0)]
        _store(connection, claim, rows)
        for row in rows:
            events.add(connection, claim.job_id, "run.epoch", _who(claim) | row)


def finish(
    db: Engine,
    claim: Claim,
    ending: str,
    outcome: Mapping[str, Any] | None,
    error: str | None,
    at: float,
    lease_seconds: float,
    left: Left = NOTHING,
) -> RunRow:
    """Stores how the run ended; only then may Optuna be told. Raises: Fenced."""
    with fence(db, claim, "asking", "running") as connection:
        connection.execute(
            update(tables.runs)
            .where(_runs.id == claim.run_id)
            .values(
                state="finishing",
                ending=ending,
                outcome=None if outcome is None else dict(outcome),
                error=error,
                finished=at,
                lease_until=at + lease_seconds,
            )
        )
        _leave(connection, claim.run_id, left)
        return _read(connection, claim.run_id)


def release(db: Engine, claim: Claim, at: float, left: Left = NOTHING) -> None:
    """Gives a run back unfinished, as the same attempt: stopping a worker is nobody's failure. Its epochs stay, until
    it is known after which it goes on. Raises: Fenced.
    """
    with fence(db, claim, "asking", "running") as connection:
        _leave(connection, claim.run_id, left)
        if _cancelled(connection, claim.job_id):
            _close_soon(connection, claim.run_id, "cancelled", None, at)
            return
        connection.execute(
            update(tables.runs)
            .where(_runs.id == claim.run_id)
            .values(state="waiting", worker_id=None, host=None, lease_until=None)
        )


def crash(db: Engine, claim: Claim, error: str, at: float, max_attempts: int, left: Left = NOTHING) -> None:
    """The trainer died: the slot's next attempt waits, or the run is to be closed. Raises: Fenced."""
    with fence(db, claim, "asking", "running") as connection:
        _leave(connection, claim.run_id, left)
        said = run_files.last_lines(left.written)
        _lose(connection, _read(connection, claim.run_id), "crashed", error, at, max_attempts, said)


def expire(db: Engine, run_id: str, at: float, max_attempts: int) -> RunRow | None:
    """A lease has ended: the slot's next attempt waits, or the run ends; one that had ended is taken over.

    Returns the run where it is now to be closed; None where it is not, or another is at it.
    """
    with db.begin() as connection:
        expired = select(_runs.id).where(_runs.id == run_id, _runs.state.in_(LEASED), _runs.lease_until <= at)
        if connection.execute(expired.with_for_update(skip_locked=True)).first() is None:
            return None
        run = _read(connection, run_id)
        if run.state != "finishing":
            _lose(connection, run, "expired", f"its worker {run.worker_id} fell silent", at, max_attempts)
        run = _read(connection, run_id)
    return run if run.state == "finishing" else None


def shorten(db: Engine, at: float, lease_seconds: float) -> None:
    """Has no lease end later than one that begins now: the clock was set back, and the dead would seem alive."""
    too_late = and_(_runs.state.in_(LEASED), _runs.lease_until > at + 2 * lease_seconds)
    with reading(db) as connection:
        if connection.execute(select(_runs.id).where(too_late).limit(1)).first() is None:
            return
    with db.begin() as connection:
        connection.execute(update(tables.runs).where(too_late).values(lease_until=at + lease_seconds))


def expired(at: float) -> Any:
    """The query of the runs whose lease has ended."""
    return select(_runs.id).where(_runs.state.in_(LEASED), _runs.lease_until <= at).order_by(_runs.lease_until)


def _lose(
    connection: Connection, run: RunRow, why: str, error: str, at: float, max_attempts: int, written: str = ""
) -> None:
    if run.attempt >= max_attempts:
        error = f"{error} (attempt {run.attempt} of {max_attempts})"
    if written:
        error = f"{error}; the last that it wrote:\n{written}"
    if _cancelled(connection, run.job_id):
        _close_soon(connection, run.id, "cancelled", error, at)
        return
    if run.attempt >= max_attempts:
        _close_soon(connection, run.id, "failed", error, at)
        return
    values = {"state": "lost", "ending": why, "error": error, "finished": at, "lease_until": None}
    connection.execute(update(tables.runs).where(_runs.id == run.id).values(**values))
    # The same slot, the same trial of Optuna, the same point: nothing is told or enqueued in between.
    again = {"job_id": run.job_id, "stage": run.stage, "ordinal": run.ordinal, "attempt": run.attempt + 1}
    point = {"number": run.number, "assignment": run.assignment}
    connection.execute(insert(tables.runs).values(id=uuid.uuid4().hex, state="waiting", **again, **point))
    lost = {"run": run.id, "stage": run.stage, "ordinal": run.ordinal, "attempt": run.attempt, "trial": run.number}
    events.add(connection, run.job_id, "run.finished", {**lost, "state": "lost", "error": error})


def _leave(connection: Connection, run_id: str, left: Left) -> None:
    """Adds to what earlier parts of the run used: one that was given back goes on as the same attempt."""
    if left.used is not None:
        run = _read(connection, run_id)
        used = Usage(run.cpu_seconds or 0.0, run.peak_bytes).and_then(left.used)
        values = {"cpu_seconds": used.cpu_seconds, "peak_bytes": used.peak_bytes}
        connection.execute(update(tables.runs).where(_runs.id == run_id).values(**values))
    if left.written:
        run_logs.keep(connection, run_id, left.written)


def _told(connection: Connection, claim: Claim) -> int:
    """The last epoch of the claim's slot that any attempt at it has told."""
    slot = and_(_runs.job_id == claim.job_id, _runs.stage == claim.stage, _runs.ordinal == claim.ordinal)
    query = select(func.max(_curves.epoch)).join(tables.runs, _runs.id == _curves.run_id).where(slot)
    return connection.execute(query).scalar() or 0


def _store(connection: Connection, claim: Claim, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    stored = [
        {"run_id": claim.run_id, "epoch": row["epoch"], "loss": row["loss"], "weights": sum(row["nnz"]), "data": row}
        for row in rows
    ]
    connection.execute(insert(tables.curves), stored)


def _row(report: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _finite(value) for key, value in report.items()}


def _close_soon(connection: Connection, run_id: str, ending: str, error: str | None, at: float) -> None:
    # A lease that has ended already: whoever sweeps next closes the run.
    values = {"state": "finishing", "ending": ending, "error": error, "finished": at, "lease_until": at}
    connection.execute(update(tables.runs).where(_runs.id == run_id).values(**values))


def _cancelled(connection: Connection, job_id: str) -> bool:
    # Locked, as `jobs.cancel` locks it: else a run could begin to wait just after the waiting ones were cancelled.
    flag = select(_jobs.cancel_requested).where(_jobs.id == job_id).with_for_update(key_share=True)
    return bool(connection.execute(flag).scalar_one())


def _extend(connection: Connection, claim: Claim, until: float) -> None:
    connection.execute(update(tables.runs).where(_runs.id == claim.run_id).values(lease_until=until))


def _read(connection: Connection, run_id: str) -> RunRow:
    return RunRow(**connection.execute(select(*COLUMNS).where(_runs.id == run_id)).mappings().one())


def _held(claim: Claim, states: Sequence[str]) -> Any:
    return and_(
        _runs.id == claim.run_id,
        _runs.attempt == claim.attempt,
        _runs.worker_id == claim.worker_id,
        _runs.state.in_(states),
    )


def _who(claim: Claim) -> dict[str, Any]:
    return {"run": claim.run_id, "stage": claim.stage, "ordinal": claim.ordinal, "attempt": claim.attempt}


def _finite(value: Any) -> Any:
    # JSON has no NaN, and PostgreSQL refuses it.
    return None if isinstance(value, float) and not math.isfinite(value) else value
