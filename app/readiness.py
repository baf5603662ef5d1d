"""Whether this process can serve: both databases answer, with the tables of this version."""

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app import database

MIGRATIONS = Path(database.__file__).parent / "migrations"


class NotReady(Exception):
    """A database does not answer, or has tables of another version."""


def check(db: Engine, storage: RDBStorage) -> None:
    """Raises: NotReady"""
    try:
        _compare("jobs", current(db), ScriptDirectory(str(MIGRATIONS)).get_current_head())
        _compare("Optuna", current(storage.engine), storage.get_head_version())
    except SQLAlchemyError as error:
        raise NotReady(f"A database does not answer: {type(error).__name__}.") from error


def revisions() -> frozenset[str]:
    """Of all tables that this version knows."""
    return frozenset(each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def current(db: Engine) -> str | None:
    """The revision of the tables of a database."""
    with database.reading(db) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _compare(name: str, current: str | None, wanted: str | None) -> None:
    if current != wanted:
        raise NotReady(f"The {name} database is at revision {current}; this version needs {wanted}.")
