"""Uploaded data sets as their owners see them: kept under a name, listed, deleted. Workers read them: `validations`."""

import re
import uuid
from dataclasses import dataclass, fields
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, text, tuple_
from sqlalchemy.exc import IntegrityError

from app import audit, blobs, cursors, jobs, tables
from app.callers import LOCAL, Caller
from app.database import clock, reading

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
STATES = ("uploaded", "validating", "ready", "refused")
_OWNER_LOCK = 0x44415441  # any constant: PostgreSQL's advisory locks are named by numbers
_datasets, _jobs = tables.datasets.c, tables.jobs.c


class DatasetNotFound(LookupError):
    """No data set has this id or name."""


class DatasetNotReady(ValueError):
    """The data set was not read yet: whether it can be used is not known."""


class DatasetInUse(ValueError):
    """A job that has not ended trains on the data set."""


class NameTaken(ValueError):
    """Another file is kept under this name."""


class StorageFull(ValueError):
    """The owner's data sets would take more than they may."""


@dataclass(frozen=True)
class Dataset:
    """A file that a user uploaded.

    state    uploaded, validating, ready or refused
    format   npz, csv or idx, once it was recognised
    label    the target column, of a table
    preview  of one that is ready: models.data.preview
    error    why it was refused
    """

    id: str
    name: str
    owner: str
    sha256: str
    size: int
    format: str | None
    label: str
    state: str
    preview: dict[str, Any] | None
    error: str | None
    created: float


def keep(
    db: Engine, file: BinaryIO, sha256: str, size: int, name: str, by: Caller, label: str, quota: int | None
) -> tuple[Dataset, bool]:
    """Keeps a file under a name; True where it is new, False where the same file has this name already.

    quota  bytes that the owner's data sets may have, together with this one

    Raises: NameTaken, StorageFull.
    """
    owner = by.owner
    while True:
        earlier = _named(db, owner, name)
        if earlier is not None:
            if (earlier.sha256, earlier.label) != (sha256, label):
                raise NameTaken(
                    f"the name {name!r} belongs to another data set (sha256 {earlier.sha256}, label {earlier.label!r});"
                    " delete that one first, or choose another name"
                )
            return earlier, False
        with reading(db) as connection:
            _check_quota(connection, owner, size, quota)
        blobs.write(db, file, sha256, size)
        try:
            with db.begin() as connection:
                _lock_owner(connection, owner)
                whole = blobs.complete(connection, sha256, size)
                if whole:
                    _check_quota(connection, owner, size, quota)
                    dataset_id = _insert(connection, sha256, size, name, owner, label)
                    audit.add(connection, by, "dataset.uploaded", dataset_id, {"name": name, "sha256": sha256})
        except IntegrityError:
            continue  # on PostgreSQL two may both find the name free: the later one finds it taken
        if whole:
            return get(db, dataset_id), True


def get(db: Engine, dataset_id: str) -> Dataset:
    """Raises: DatasetNotFound."""
    with reading(db) as connection:
        row = connection.execute(select(*_COLUMNS).where(_datasets.id == dataset_id)).first()
    if row is None:
        raise DatasetNotFound(f"no data set has the id {dataset_id!r}")
    return _dataset(row)


def named(db: Engine, owner: str, name: str) -> Dataset:
    """Raises: DatasetNotFound."""
    found = _named(db, owner, name)
    if found is None:
        raise DatasetNotFound(f"no data set has the name {name!r}")
    return found


def page(
    db: Engine, limit: int = 20, cursor: str | None = None, owner: str | None = None
) -> tuple[list[Dataset], str | None]:
    """Up to `limit` data sets, newest first, and the cursor of the next page; of one owner, or of all.

    Raises: cursors.InvalidCursor.
    """
    query = select(*_COLUMNS).order_by(_datasets.created.desc(), _datasets.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(tuple_(_datasets.created, _datasets.id) < tuple_(*cursors.place(cursor)))
    if owner is not None:
        query = query.where(_datasets.owner == owner)
    with reading(db) as connection:
        found = [_dataset(row) for row in connection.execute(query)]
    shown = found[:limit]
    return shown, cursors.cursor(shown[-1].created, shown[-1].id) if len(found) > limit else None


def remove(db: Engine, dataset_id: str, by: Caller = LOCAL) -> None:
    """Deletes a data set, and its file where no other has it. Raises: DatasetNotFound, DatasetInUse."""
    sha256 = get(db, dataset_id).sha256
    with db.begin() as connection:
        blobs.lock(connection, sha256)  # first, as an upload does
        locked = select(_datasets.name).where(_datasets.id == dataset_id).with_for_update()
        name = connection.execute(locked).scalar()
        if name is None:
            raise DatasetNotFound(f"no data set has the id {dataset_id!r}")
        users = _unfinished(connection, dataset_id)
        if users:
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            raise DatasetInUse(f"the job {users[0]!r}{more} trains on the data set {name!r} and has not ended")
        connection.execute(delete(tables.datasets).where(_datasets.id == dataset_id))
        blobs.delete_unused(connection, sha256)
        audit.add(connection, by, "dataset.deleted", dataset_id, {"name": name, "sha256": sha256})


def stored_bytes(connection: Connection, owner: str) -> int:
    """What the owner's data sets take; a file kept under two names counts twice."""
    total = select(func.coalesce(func.sum(_datasets.size), 0)).where(_datasets.owner == owner)
    return int(connection.execute(total).scalar_one())


def _check_quota(connection: Connection, owner: str, size: int, quota: int | None) -> None:
    if quota is None:
        return
    stored = stored_bytes(connection, owner)
    if stored + size > quota:
        raise StorageFull(
            f"{size:,} bytes are too many: your data sets have {stored:,} bytes, and may have {quota:,} together"
        )


def _lock_owner(connection: Connection, owner: str) -> None:
    # Of two uploads at once each must count the other; SQLite has one writer anyway.
    if connection.dialect.name == "postgresql":
        key = {"place": _OWNER_LOCK, "owner": owner}
        connection.execute(text("SELECT pg_advisory_xact_lock(:place, hashtext(:owner))"), key)


def _insert(connection: Connection, sha256: str, size: int, name: str, owner: str, label: str) -> str:
    dataset_id = uuid.uuid4().hex
    row = {"id": dataset_id, "name": name, "owner": owner, "sha256": sha256, "size": size, "label": label}
    made = {"state": "uploaded", "created": clock(connection), "attempt": 0}
    connection.execute(insert(tables.datasets).values(**row, **made))
    return dataset_id


def _named(db: Engine, owner: str, name: str) -> Dataset | None:
    with reading(db) as connection:
        row = connection.execute(select(*_COLUMNS).where(_datasets.owner == owner, _datasets.name == name)).first()
    return None if row is None else _dataset(row)


def _unfinished(connection: Connection, dataset_id: str) -> list[str]:
    data = tables.jobs.c.spec["data"]
    uses = select(_jobs.id).where(_jobs.state.not_in(jobs.ENDED), data["id"].as_string() == dataset_id)
    return list(connection.execute(uses.order_by(_jobs.created)).scalars())


_COLUMNS = tuple(_datasets[field.name] for field in fields(Dataset))


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(**row._mapping)
