"""The two schemas of a PostgreSQL, copied table by table in one transaction: no program of its version is needed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, Table, create_engine, text

from app.database import APP, OPTUNA

VERSIONS = ("alembic_version", "version_info")
"""Written by whoever makes the tables."""
SEQUENCES = "sequences.json"


def copy(url: str, directory: Path) -> dict[str, int]:
    """One snapshot of both schemas; writers do not wait."""
    with _connected(url) as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        for table in _tables(connection):
            with (directory / _file(table)).open("wb") as file, _copying(connection, table, "TO STDOUT") as rows:
                for part in rows:
                    file.write(part)
        sequences = "SELECT schemaname || '.' || sequencename AS name, last_value FROM pg_sequences WHERE schemaname IN"
        found = connection.execute(text(f"{sequences} ('{APP}', '{OPTUNA}') AND last_value IS NOT NULL"))
        (directory / SEQUENCES).write_text(json.dumps({row.name: row.last_value for row in found}))
        return {"jobs": _count(connection, f"{APP}.jobs"), "trials": _count(connection, f"{OPTUNA}.trials")}


def has_jobs(url: str) -> bool:
    with _connected(url) as connection:
        return _count(connection, f"{APP}.jobs") > 0 or _count(connection, f"{OPTUNA}.studies") > 0


def put_back(directory: Path, url: str) -> None:
    """Fills tables that are there and empty; all of them or none."""
    with _connected(url) as connection:
        for table in _tables(connection):
            with _copying(connection, table, "FROM STDIN") as rows, (directory / _file(table)).open("rb") as file:
                while part := file.read(2**20):
                    rows.write(part)
        for name, value in json.loads((directory / SEQUENCES).read_text()).items():
            connection.execute(text("SELECT setval(CAST(:name AS regclass), :value)"), {"name": name, "value": value})


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    server = create_engine(url)
    try:
        with server.begin() as connection:
            yield connection
    finally:
        server.dispose()


def _tables(connection: Connection) -> list[Table]:
    """Each after those that it refers to."""
    found = []
    for schema in (APP, OPTUNA):
        reflected = MetaData(schema=schema)
        reflected.reflect(connection)
        found += [table for table in reflected.sorted_tables if table.name not in VERSIONS]
    return found


@contextmanager
def _copying(connection: Connection, table: Table, direction: str) -> Iterator[Any]:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    cursor: Any = connection.connection.cursor()  # psycopg's, which alone knows COPY
    with cursor, cursor.copy(f'COPY "{table.schema}"."{table.name}" ({columns}) {direction}') as rows:
        yield rows


def _file(table: Table) -> str:
    return f"{table.schema}.{table.name}.copy"


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
