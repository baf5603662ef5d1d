"""Data of every released schema, brought to today's: nothing of it is lost, and what was unfinished is finished."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from by_hand import Hand
from sqlalchemy import JSON, Boolean, Connection, DateTime, Engine, MetaData, Table, create_engine, insert, text

from app import database, endings, jobs, reports, runs
from app.settings import Settings

RELEASED = Path(__file__).parent / "released"
REVISIONS = sorted(file.stem for file in RELEASED.glob("*.json"))
VERSIONS = ("alembic_version", "version_info")


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    if request.param == "sqlite":
        yield Settings(state_dir=tmp_path)
        return
    server = create_engine(request.getfixturevalue("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE released"))
    url = server.url.set(database="released").render_as_string(hide_password=False)
    yield Settings(state_dir=tmp_path, database_url=url)
    with server.connect() as connection:
        connection.execute(text("DROP DATABASE released WITH (FORCE)"))
    server.dispose()


@pytest.fixture(params=REVISIONS)
def released(request: pytest.FixtureRequest, empty: Settings) -> dict[str, Any]:
    """The rows of a release, now in `empty` under the schema of that release."""
    found: dict[str, Any] = json.loads((RELEASED / f"{request.param}.json").read_text())
    database.upgrade(empty, request.param)
    db, storage = database.engine(empty), database.optuna_storage(empty)
    fill(db, found["app"])
    fill(storage.engine, found["optuna"])
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
    return found


def fill(db: Engine, rows: dict[str, list[dict[str, Any]]]) -> None:
    with db.begin() as connection:
        tables = MetaData()
        tables.reflect(connection)
        for table in tables.sorted_tables:
            if table.name not in VERSIONS and rows.get(table.name):
                connection.execute(insert(table), [typed(table, row) for row in rows[table.name]])
                follow_sequences(connection, table)


def typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """A row as SQLite keeps it, in the types of the database that gets it."""
    return {name: cast(table.columns[name].type, value) for name, value in row.items()}


def cast(column: object, value: Any) -> Any:
    match column:
        case JSON() if value is not None:
            return json.loads(value)
        case DateTime() if value is not None:
            return datetime.fromisoformat(value)
        case Boolean():
            return bool(value)
    return value


def follow_sequences(connection: Connection, table: Table) -> None:
    if connection.dialect.name == "sqlite":
        return  # it goes on after the greatest number by itself
    for column in table.primary_key:
        sequence = f"pg_get_serial_sequence('{table.name}', '{column.name}')"
        if connection.execute(text(f"SELECT {sequence}")).scalar() is not None:
            connection.execute(text(f"SELECT setval({sequence}, (SELECT max({column.name}) FROM {table.name}))"))


def test_every_job_and_trial_of_a_release_is_kept(empty: Settings, released: dict[str, Any]) -> None:
    database.upgrade(empty)
    db = database.engine(empty)
    old = {row["id"]: row for row in released["app"]["jobs"]}
    assert {job.id: (job.name, job.state, job.spec) for job in jobs.page(db, limit=200)[0]} == {
        key: (row["name"], row["state"], json.loads(row["spec"])) for key, row in old.items()
    }
    for key, row in old.items():
        if row["report"] is not None:
            assert reports.current(db, key) == json.loads(row["report"])
        kept = [run for run in released["app"]["runs"] if run["job_id"] == key and run["state"] != "lost"]
        assert {(run.id, run.state, run.number) for run in runs.of_job(db, key)} == {
            (run["id"], run["state"], run["number"]) for run in kept
        }
    storage = database.optuna_storage(empty)
    trials = sum(len(storage.get_all_trials(each._study_id)) for each in storage.get_all_studies())
    assert trials == len(released["optuna"]["trials"])
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()


def test_a_server_of_today_finishes_what_a_release_began(empty: Settings, released: dict[str, Any]) -> None:
    database.upgrade(empty)
    db, storage = database.engine(empty), database.optuna_storage(empty)
    hand = Hand(db, storage, "today")
    open_before = [job.id for job in jobs.page(db, limit=200)[0] if not job.ended]
    assert open_before
    endings.sweep(db, storage, max_attempts=3)  # the workers of that time are long silent
    hand.do_all()
    for key in open_before:
        job = jobs.get(db, key)
        assert (job.state, job.error) == ("completed", None)
        assert sorted(hand.trials(job).values()) == ["complete"] * job.trials
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
