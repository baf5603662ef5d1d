import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from by_hand import spec
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import OperationalError

from app import database, tables
from app.settings import Settings
from search import study

LEASE_ROW = {"name": "test", "holder": "me", "until": 0.0}


def test_the_migrations_make_exactly_the_tables(db: Engine) -> None:
    with db.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_upgrading_again_keeps_what_is_there(store: Settings, db: Engine, storage: RDBStorage) -> None:
    study.create(storage, "kept", spec())
    with db.begin() as connection:
        connection.execute(insert(tables.leases).values(**LEASE_ROW))
    database.upgrade(store)
    with database.reading(db) as connection:
        assert connection.execute(select(tables.leases.c.holder)).scalar_one() == "me"
    assert study.trials(storage, "kept") == []


def test_several_processes_may_upgrade_a_new_state_at_once(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "new")
    threads = [threading.Thread(target=database.upgrade, args=(settings,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = database.engine(settings)
    with database.reading(made) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar_one() == 1
    made.dispose()


@pytest.mark.parametrize("name", ["db", "storage"])
def test_a_sqlite_transaction_holds_the_write_lock_from_its_first_read(name: str, sqlite: Settings) -> None:
    storage = database.optuna_storage(sqlite)
    databases = {"db": database.engine(sqlite), "storage": storage.engine}
    made = databases[name]
    with made.begin() as first:
        first.execute(text("SELECT count(*) FROM alembic_version"))
        with made.connect() as second:
            second.connection.dbapi_connection.execute("PRAGMA busy_timeout=1")
            with pytest.raises(OperationalError, match="locked"):
                second.execute(text("SELECT 1"))
            second.connection.dbapi_connection.execute("PRAGMA busy_timeout=30000")
    storage.remove_session()
    for each in databases.values():
        each.dispose()


def test_a_reader_does_not_wait_for_a_writer(db: Engine) -> None:
    with db.begin() as writer:
        writer.execute(insert(tables.leases).values(**LEASE_ROW))
        with database.reading(db) as reader:
            assert reader.execute(select(tables.leases)).all() == []


def test_a_read_only_storage_reads_live_rows_and_refuses_to_write(store: Settings, storage: RDBStorage) -> None:
    study.create(storage, "seen", spec())
    read_only = database.optuna_storage(store, read_only=True)
    assert study.trials(read_only, "seen") == []
    with pytest.raises(StorageInternalError) as refused:
        study.create(read_only, "refused", spec())
    assert "read" in str(refused.value.__cause__)
    read_only.remove_session()
    read_only.engine.dispose()


def test_the_two_databases_do_not_share_their_version_tables(db: Engine, storage: RDBStorage) -> None:
    query = text("SELECT version_num FROM alembic_version")
    with database.reading(db) as ours, storage.engine.connect() as optunas:
        assert ours.execute(query).scalars().all() != optunas.execute(query).scalars().all()


def test_time_is_the_databases(db: Engine) -> None:
    earlier = database.now(db)
    with db.begin() as connection:
        assert earlier <= database.clock(connection) <= database.now(db)


def test_a_file_that_is_being_closed_by_its_last_user_is_waited_for() -> None:
    class Closing:
        left = 3

        def execute(self, statement: str) -> None:
            if self.left:
                self.left -= 1
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error

    closing = Closing()
    database._set(closing, "journal_mode=WAL")
    assert closing.left == 0
