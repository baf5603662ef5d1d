"""Whether a process that was just stopped holds others up: one stopped in a transaction keeps what it locked."""

import sqlite3
import time
from contextlib import closing

from sqlalchemy import Engine, text

from app import database
from app.settings import Settings

_STAYS = 0.15  # seconds


def nobody_writes(settings: Settings, db: Engine) -> bool:
    """Of the jobs database, at this moment."""
    if settings.database_url is not None:
        # Others pass through that state; one that was stopped stays in it.
        time.sleep(2 * _STAYS)
        stays = f"state = 'idle in transaction' AND clock_timestamp() - state_change > interval '{_STAYS} s'"
        idle = text(f"SELECT count(*) FROM pg_stat_activity WHERE {stays}")
        with database.reading(db) as connection:
            return connection.execute(idle).scalar_one() == 0
    with closing(sqlite3.connect(settings.state_dir / "app.db", timeout=0, isolation_level=None)) as file:
        try:
            file.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        file.execute("ROLLBACK")
    return True
