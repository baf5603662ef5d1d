"""A copy of both databases as they were at one moment, and the way back.

Of SQLite the two files, of PostgreSQL one file per table, as its COPY writes them; beside them `manifest.json`.
A directory that holds a manifest is complete: it is written aside and renamed at the end.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from app import postgres_copy, sqlite_copy, state
from app.database import engine, optuna_storage, upgrade
from app.readiness import current, revisions
from app.settings import Settings

MANIFEST = "manifest.json"


class CannotBackUp(Exception):
    """The place of the copy is taken, or there is nothing to copy."""


class CannotRestore(Exception):
    """The copy is none, of another kind or version, or the place where it should go is not empty."""


@dataclass(frozen=True)
class Manifest:
    """kind: sqlite or postgresql; revisions of the tables: our own, and Optuna's; counts: rows of some tables."""

    kind: str
    made: float
    snas: str
    revision: str
    optuna_revision: str
    jobs: int
    trials: int

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Raises: CannotRestore."""
        try:
            return cls(**json.loads((directory / MANIFEST).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            raise CannotRestore(f"{directory} is no backup: it has no {MANIFEST}") from None
        except (ValueError, TypeError) as error:
            raise CannotRestore(f"{directory / MANIFEST} is not readable: {error}") from None


def backup(settings: Settings, directory: Path) -> Manifest:
    """Copies both databases into a new directory. Servers and workers may go on meanwhile. Raises: CannotBackUp."""
    if directory.exists():
        raise CannotBackUp(f"{directory} exists already: a backup makes its own directory")
    if settings.database_url is None and not sqlite_copy.is_there(settings.state_dir):
        raise CannotBackUp(f"{settings.state_dir} holds no databases")
    with _aside(directory) as draft:
        if settings.database_url is None:
            counted = sqlite_copy.copy(settings.state_dir, draft)
        else:
            counted = postgres_copy.copy(settings.database_url, draft)
        ours, optunas = _revisions(settings)
        manifest = Manifest(_kind(settings), time.time(), version("snas"), ours, optunas, **counted)
        (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2))
    return manifest


def restore(settings: Settings, directory: Path) -> Manifest:
    """Fills an empty state from a backup, then brings its tables up to date. Runs that were at work are repeated once
    their leases have ended. Raises: CannotRestore.
    """
    manifest = Manifest.read(directory)
    if manifest.kind != _kind(settings):
        raise CannotRestore(f"{directory} is a backup of {manifest.kind}, and the databases here are {_kind(settings)}")
    if manifest.revision not in revisions():
        raise CannotRestore(f"{directory} was made by a newer snas ({manifest.snas}): use that one, or a newer one")
    if settings.database_url is None:
        if state.is_held(settings.state_dir):
            raise CannotRestore(f"a server runs on {settings.state_dir}: end it first")
        if sqlite_copy.is_there(settings.state_dir):
            raise CannotRestore(f"{settings.state_dir} holds databases already: move them away first")
        sqlite_copy.put_back(directory, settings.state_dir)
    else:
        upgrade(settings, manifest.revision)
        optunas = _revisions(settings)[1]
        if optunas != manifest.optuna_revision:
            raise CannotRestore(
                f"the backup holds Optuna's tables at revision {manifest.optuna_revision}, this Optuna makes {optunas}"
            )
        if postgres_copy.has_jobs(settings.database_url):
            raise CannotRestore("the database holds jobs already: give an empty one")
        postgres_copy.put_back(directory, settings.database_url)
    upgrade(settings)
    return manifest


def _kind(settings: Settings) -> str:
    return "sqlite" if settings.database_url is None else "postgresql"


def _revisions(settings: Settings) -> tuple[str, str]:
    """Of our tables and of Optuna's."""
    db, storage = engine(settings), optuna_storage(settings, read_only=True)
    try:
        return str(current(db)), str(current(storage.engine))
    finally:
        storage.remove_session()
        storage.engine.dispose()
        db.dispose()


@contextmanager
def _aside(directory: Path) -> Iterator[Path]:
    draft = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)  # of a backup that was killed
    draft.mkdir(parents=True)
    yield draft
    draft.rename(directory)
