"""The two files of an SQLite state, copied as one."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

FILES = ("app.db", "optuna.db")
"""In the order in which a worker locks them."""
BUSY = 30_000  # milliseconds, as everywhere


def is_there(state_dir: Path) -> bool:
    return any((state_dir / name).exists() for name in FILES)


def copy(state_dir: Path, directory: Path) -> dict[str, int]:
    """Writers wait for milliseconds: while both files are locked a snapshot of each is opened, then it is read."""
    with _snapshots(state_dir) as snapshots:
        for name, snapshot in snapshots.items():
            with closing(sqlite3.connect(directory / name)) as target:
                snapshot.backup(target)
                # One file: without it whoever reads the copy would leave a -wal and a -shm beside it.
                target.execute("PRAGMA journal_mode = DELETE")
    return {"jobs": _count(directory / "app.db", "jobs"), "trials": _count(directory / "optuna.db", "trials")}


def put_back(directory: Path, state_dir: Path) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(directory / name, state_dir / f"{name}.restored")
    for name in FILES:
        (state_dir / f"{name}.restored").replace(state_dir / name)


@contextmanager
def _snapshots(state_dir: Path) -> Iterator[dict[str, sqlite3.Connection]]:
    with ExitStack() as open_ones:
        locks = [open_ones.enter_context(_connected(state_dir / name)) for name in FILES]
        readers = {name: open_ones.enter_context(_connected(state_dir / name)) for name in FILES}
        for lock in locks:
            lock.execute("BEGIN IMMEDIATE")
        for reader in readers.values():
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the snapshot is taken at the first read
        for lock in locks:
            lock.execute("ROLLBACK")
        yield readers


@contextmanager
def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{file.absolute()}?mode=rw", uri=True, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {BUSY}")
        yield connection


def _count(file: Path, table: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
