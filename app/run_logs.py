"""What runs wrote: kept with the run when it ends, so that it can be read wherever it was trained."""

from pathlib import Path

from sqlalchemy import Connection, Engine, delete, insert, select

from app import run_files, tables
from app.database import reading
from app.runs import RunRow

_logs = tables.run_logs.c


def keep(connection: Connection, run_id: str, text: str) -> None:
    """In the transaction of its end; in place of what an earlier part of it had kept."""
    connection.execute(delete(tables.run_logs).where(_logs.run_id == run_id))
    connection.execute(insert(tables.run_logs).values(run_id=run_id, text=text))


def read(db: Engine, state_dir: Path, run: RunRow) -> str:
    """The end of what a run wrote to stderr; of one that is still trained only where that is done on this host."""
    with reading(db) as connection:
        kept = connection.execute(select(_logs.text).where(_logs.run_id == run.id)).scalar()
    if kept is not None:
        return str(kept)
    return run_files.tail(run_files.log_file(state_dir, run.job_id, run.stage, run.ordinal, run.attempt))
