"""Two databases: ours (jobs, runs, events) and Optuna's (trials). Two SQLite files, or two schemas of one PostgreSQL.

Two, because both sides own a table `alembic_version`; and two files double what a single writer at a time can carry.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import alembic.command
import alembic.config
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, create_engine, event, func, select, text

from app.settings import Settings

APP, OPTUNA = "snas", "optuna"  # schemas of PostgreSQL
BUSY_MILLISECONDS = 30_000  # SQLite waits so long for the writer before it says that the database is locked
CONNECTIONS = 20  # to a SQLite file, kept open by one process: opening one anew costs more than a query
RETRY_SECONDS = 0.01
_UPGRADE_LOCK = 0x534E4153  # any constant: PostgreSQL's advisory locks are named by numbers


def engine(settings: Settings) -> Engine:
    """The jobs database. Opens no connection yet."""
    if settings.database_url is None:
        made = create_engine(f"sqlite:///{_file(settings, 'app.db')}", pool_size=CONNECTIONS)
        _immediate(made)
        return made
    return create_engine(settings.database_url, pool_pre_ping=True, connect_args=_schema(APP))


def optuna_storage(settings: Settings, read_only: bool = False) -> RDBStorage:
    """Optuna's storage, whose tables `upgrade` made. A read-only one cannot write, whoever asks it to."""
    if settings.database_url is None:
        path = _file(settings, "optuna.db")
        url = f"sqlite:///file:{path}?mode=ro&uri=true" if read_only else f"sqlite:///{path}"
        storage = RDBStorage(url, skip_table_creation=True, skip_compatibility_check=read_only)
        _immediate(storage.engine, read_only)
        storage.remove_session()
        storage.engine.dispose()  # a connection opened before the hooks were there lacks them
        return storage
    # Optuna changes the mapping it is given.
    arguments: dict[str, Any] = {"connect_args": _schema(OPTUNA, read_only), "pool_pre_ping": True}
    return RDBStorage(settings.database_url, engine_kwargs=arguments, skip_table_creation=True)


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Brings both databases to this version's tables, or ours to those of an earlier revision; makes them where there
    are none. Any process may call it.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    database = engine(settings)
    with _one_at_a_time(settings, database):
        with database.begin() as connection:
            configuration = alembic.config.Config()
            configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
            configuration.attributes["connection"] = connection
            alembic.command.upgrade(configuration, revision)
        _create_optuna_tables(settings)
    database.dispose()


def now(database: Engine) -> float:
    """The time that leases are measured by: the database's, so that workers' clocks need not agree."""
    if database.dialect.name == "sqlite":
        return time.time()
    with database.connect() as connection:
        return clock(connection)


def clock(connection: Connection) -> float:
    """`now`, inside a transaction."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())


@contextmanager
def reading(database: Engine) -> Iterator[Connection]:
    """A transaction that only reads: on SQLite it neither waits for the writer nor holds it up."""
    with database.connect().execution_options(sqlite_readonly=True) as connection, connection.begin():
        yield connection


def _file(settings: Settings, name: str) -> Path:
    return settings.state_dir.absolute() / name


def _schema(name: str, read_only: bool = False) -> dict[str, str]:
    return {"options": f"-csearch_path={name}" + (" -cdefault_transaction_read_only=on" if read_only else "")}


def _immediate(database: Engine, read_only: bool = False) -> None:
    # sqlite3's own transactions open at the first write: what was read before it may be stale by then, and two workers
    # take the same trial. BEGIN IMMEDIATE takes the write lock first and waits for it.
    pragmas = ["foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"]
    if not read_only:
        pragmas += ["journal_mode=WAL", "synchronous=NORMAL"]

    @event.listens_for(database, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            _set(connection, pragma)

    @event.listens_for(database, "begin")
    def _begin(connection: Connection) -> None:
        deferred = read_only or connection.get_execution_options().get("sqlite_readonly")
        connection.exec_driver_sql("BEGIN DEFERRED" if deferred else "BEGIN IMMEDIATE")


def _set(connection: Any, pragma: str) -> None:
    # Whoever closes a file last has it alone while its WAL is cleared away, and SQLite does not wait for them as it
    # waits for a writer: not at all.
    deadline = monotonic() + BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() >= deadline:
                raise
            sleep(RETRY_SECONDS)


@contextmanager
def _one_at_a_time(settings: Settings, database: Engine) -> Iterator[None]:
    if settings.database_url is None:
        with (settings.state_dir / "upgrade.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with database.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        with database.begin() as making:
            for schema in (APP, OPTUNA):
                making.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        yield


def _create_optuna_tables(settings: Settings) -> None:
    if settings.database_url is None:
        storage = RDBStorage(f"sqlite:///{_file(settings, 'optuna.db')}")
    else:
        storage = RDBStorage(settings.database_url, engine_kwargs={"connect_args": _schema(OPTUNA)})
    storage.remove_session()
    storage.engine.dispose()
