"""What happened, in order: each event is stored in the transaction of the change it tells."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, insert, select, text

from app import tables
from app.database import clock, reading

Type = Literal[
    "job.submitted",
    "job.running",
    "job.changed",
    "job.paused",
    "job.resumed",
    "job.confirming",
    "job.completed",
    "job.failed",
    "job.cancelled",
    "run.started",
    "run.epoch",
    "run.finished",
]
ENDS: frozenset[str] = frozenset({"job.completed", "job.failed", "job.cancelled"})  # nothing follows but further trials
_ORDER_LOCK = 0x45564E54  # any constant
_NEWEST = select(func.coalesce(func.max(tables.events.c.seq), 0))


@dataclass(frozen=True)
class Event:
    seq: int
    job_id: str
    at: float
    type: str
    data: dict[str, Any]


def add(connection: Connection, job_id: str, type_: Type, data: Mapping[str, Any] | None = None) -> None:
    """Tells one thing. Call it last in a transaction: on PostgreSQL it makes other writers of events wait."""
    if connection.dialect.name == "postgresql":
        # A sequence gives numbers before the commit: a reader who has seen 6 would never see a 5 that commits later.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ORDER_LOCK})
    row = {"job_id": job_id, "at": clock(connection), "type": type_, "data": dict(data or {})}
    connection.execute(insert(tables.events).values(**row))


def after(db: Engine, seq: int, job_id: str | None = None, limit: int = 500) -> list[Event]:
    """The events that follow number `seq`, oldest first; 0 is before the first."""
    query = select(tables.events).where(tables.events.c.seq > seq).order_by(tables.events.c.seq).limit(limit)
    if job_id is not None:
        query = query.where(tables.events.c.job_id == job_id)
    with reading(db) as connection:
        return [Event(**row) for row in connection.execute(query).mappings()]


def newest(db: Engine) -> int:
    """The number of the newest event, 0 where there is none."""
    with reading(db) as connection:
        return int(connection.execute(_NEWEST).scalar_one())


def fresh(db: Engine, seq: int, job_ids: Collection[str], limit: int) -> tuple[int, list[Event]]:
    """The number of the newest event of all, and those of the jobs after number `seq` and up to it, oldest first."""
    column = tables.events.c
    with reading(db) as connection:
        newest = int(connection.execute(_NEWEST).scalar_one())
        if newest == seq:
            return newest, []
        query = select(tables.events).where(column.job_id.in_(job_ids), column.seq > seq, column.seq <= newest)
        rows = connection.execute(query.order_by(column.seq).limit(limit)).mappings()
        return newest, [Event(**row) for row in rows]
