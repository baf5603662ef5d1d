"""Uploaded data sets handed out to be read: uploaded -> validating -> ready | refused.

Fenced as runs are: every write of a worker names the data set, the attempt, the worker and the state. One whose worker
died or fell silent is read again; after `max_attempts` it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, select, update

from app import tables
from app.database import reading
from app.fences import Fenced

_datasets = tables.datasets.c


@dataclass(frozen=True)
class Validation:
    """One worker's right to read one data set. attempt: from 1"""

    dataset_id: str
    name: str
    sha256: str
    label: str
    attempt: int
    worker_id: str


def claim(db: Engine, worker_id: str, at: float, lease_seconds: float) -> Validation | None:
    """Leases the data set that waits longest; None where none does."""
    with reading(db) as connection:  # an idle worker's look need not lock the database
        if connection.execute(select(_datasets.id).where(_waits()).limit(1)).first() is None:
            return None
    with db.begin() as connection:
        oldest = select(tables.datasets).where(_waits()).order_by(_datasets.created, _datasets.id).limit(1)
        row = connection.execute(oldest.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        lease = {"state": "validating", "worker_id": worker_id, "lease_until": at + lease_seconds}
        _write(connection, row.id, **lease, attempt=row.attempt + 1)
    return Validation(row.id, row.name, row.sha256, row.label, row.attempt + 1, worker_id)


def renew(db: Engine, held: Validation, at: float, lease_seconds: float) -> None:
    """Raises: Fenced."""
    _held_write(db, held, lease_until=at + lease_seconds)


def accept(db: Engine, held: Validation, format_: str, preview: Mapping[str, Any]) -> None:
    """Raises: Fenced."""
    _held_write(db, held, state="ready", format=format_, preview=dict(preview), error=None, lease_until=None)


def refuse(db: Engine, held: Validation, reason: str) -> None:
    """Raises: Fenced."""
    _held_write(db, held, state="refused", error=reason, lease_until=None)


def release(db: Engine, held: Validation) -> None:
    """Gives it back unread, as the same attempt: stopping a worker is nobody's failure. Raises: Fenced."""
    _held_write(db, held, state="uploaded", attempt=held.attempt - 1, worker_id=None, lease_until=None)


def crash(db: Engine, held: Validation, how: str, max_attempts: int) -> None:
    """The process that read it died: it waits again, or is refused. Raises: Fenced."""
    _held_write(db, held, **_lost(held.attempt, how, max_attempts))


def sweep(db: Engine, at: float, max_attempts: int) -> None:
    """What a silent worker held waits again, or is refused."""
    expired = and_(_datasets.state == "validating", _datasets.lease_until <= at)
    with reading(db) as connection:
        found = connection.execute(select(_datasets.id).where(expired)).scalars().all()
    for dataset_id in found:
        with db.begin() as connection:
            locked = select(tables.datasets).where(_datasets.id == dataset_id, expired)
            row = connection.execute(locked.with_for_update(skip_locked=True)).first()
            if row is not None:
                _write(connection, row.id, **_lost(row.attempt, f"worker {row.worker_id} fell silent", max_attempts))


def _lost(attempt: int, how: str, max_attempts: int) -> dict[str, Any]:
    freed = {"worker_id": None, "lease_until": None}
    if attempt < max_attempts:
        return {"state": "uploaded", **freed}
    reason = f"it killed the process that read it: {how} (attempt {attempt} of {max_attempts})"
    return {"state": "refused", "error": reason, **freed}


def _waits() -> Any:
    return _datasets.state == "uploaded"


def _write(connection: Connection, dataset_id: str, **values: Any) -> None:
    connection.execute(update(tables.datasets).where(_datasets.id == dataset_id).values(**values))


def _held_write(db: Engine, held: Validation, **values: Any) -> None:
    mine = and_(
        _datasets.id == held.dataset_id,
        _datasets.attempt == held.attempt,
        _datasets.worker_id == held.worker_id,
        _datasets.state == "validating",
    )
    with db.begin() as connection:
        if connection.execute(update(tables.datasets).where(mine).values(**values)).rowcount == 0:
            raise Fenced(f"data set {held.dataset_id}, attempt {held.attempt}")
