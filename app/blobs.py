"""Uploaded files, kept in the jobs database in chunks, each file once: workers of any host read them from there.

A file is written by many short transactions and becomes whole in the last. Chunks are named by the hash of the whole:
two who write the same file write the same rows, and one may go on where another was cut short.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, Table, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app import tables
from app.database import clock, now, reading

CHUNK = 2**20  # bytes
ABANDONED = 600.0  # seconds without a further chunk: whoever wrote it is gone
_blobs, _chunks, _datasets = tables.blobs.c, tables.blob_chunks.c, tables.datasets.c


class BlobNotFound(LookupError):
    """No file with this hash is kept: its data set was deleted."""


def write(db: Engine, file: BinaryIO, sha256: str, size: int) -> None:
    """Stores the chunks of a file; it is kept once `complete` was called."""
    file.seek(0)
    for ordinal in range(_count(size)):
        data = file.read(CHUNK)
        with db.begin() as connection:
            if _open(connection, sha256, size):
                return  # it is whole already
            _insert_unless_there(connection, tables.blob_chunks, sha256=sha256, ordinal=ordinal, data=data)


def complete(connection: Connection, sha256: str, size: int) -> bool:
    """Locks the file and calls it whole; False where chunks are missing: it was deleted meanwhile."""
    if _open(connection, sha256, size):
        return True
    stored = select(func.count()).where(_chunks.sha256 == sha256)
    if connection.execute(stored).scalar_one() != _count(size):
        return False
    connection.execute(update(tables.blobs).where(_blobs.sha256 == sha256).values(complete=True))
    return True


def lock(connection: Connection, sha256: str) -> None:
    """Until the end of the transaction nobody else completes or deletes the file."""
    connection.execute(select(_blobs.sha256).where(_blobs.sha256 == sha256).with_for_update())


def delete_unused(connection: Connection, sha256: str) -> None:
    """Deletes a locked file that no data set has."""
    used = select(_datasets.id).where(_datasets.sha256 == sha256).limit(1)
    if connection.execute(used).first() is None:
        connection.execute(delete(tables.blob_chunks).where(_chunks.sha256 == sha256))
        connection.execute(delete(tables.blobs).where(_blobs.sha256 == sha256))


def read(db: Engine, sha256: str) -> Iterator[bytes]:
    """Its chunks in order. Raises: BlobNotFound, at the end too, where it was deleted meanwhile."""
    with reading(db) as connection:
        found = select(_blobs.size).where(_blobs.sha256 == sha256, _blobs.complete)
        size = connection.execute(found).scalar()
    if size is None:
        raise BlobNotFound(f"no uploaded file has the sha256 {sha256}")
    for ordinal in range(_count(size)):
        with reading(db) as connection:
            chunk = select(_chunks.data).where(_chunks.sha256 == sha256, _chunks.ordinal == ordinal)
            data = connection.execute(chunk).scalar()
        if data is None:
            raise BlobNotFound(f"the uploaded file with the sha256 {sha256} was deleted")
        yield data


def known(db: Engine) -> set[str]:
    """The hashes of all files that are kept."""
    with reading(db) as connection:
        return set(connection.execute(select(_blobs.sha256).where(_blobs.complete)).scalars())


def clean_up(db: Engine) -> None:
    """Deletes what uploads that were cut short have left, and files that no data set has."""
    unused = ~exists().where(_datasets.sha256 == _blobs.sha256).correlate(tables.blobs)
    left = select(_blobs.sha256).where(unused, _blobs.touched < now(db) - ABANDONED)
    with reading(db) as connection:
        found = connection.execute(left).scalars().all()
    for sha256 in found:
        with db.begin() as connection:
            lock(connection, sha256)
            still = connection.execute(
                select(_blobs.sha256).where(_blobs.sha256 == sha256, _blobs.touched < clock(connection) - ABANDONED)
            )
            if still.first() is not None:
                delete_unused(connection, sha256)


def _open(connection: Connection, sha256: str, size: int) -> bool:
    """Makes the row of a file unless it is there, locks it, and says that somebody is at it; True where it is whole."""
    at = clock(connection)
    row = {"sha256": sha256, "size": size, "created": at, "touched": at, "complete": False}
    touching = update(tables.blobs).where(_blobs.sha256 == sha256).values(touched=at)
    _insert_unless_there(connection, tables.blobs, **row)
    while connection.execute(touching).rowcount == 0:  # it was there, but being deleted
        _insert_unless_there(connection, tables.blobs, **row)
    return bool(connection.execute(select(_blobs.complete).where(_blobs.sha256 == sha256)).scalar_one())


def _count(size: int) -> int:
    return -(-size // CHUNK)


def _insert_unless_there(connection: Connection, table: Table, **row: Any) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).values(**row).on_conflict_do_nothing())
