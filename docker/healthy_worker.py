"""The health check of a worker's container: has its supervisor said lately, in the jobs database, that it is there?"""

import socket
import sys

from sqlalchemy import func, select

from app.database import engine, now
from app.settings import Settings
from app.tables import workers

LATELY = 60.0  # seconds; a worker says so every 10

database = engine(Settings())
with database.connect() as connection:
    here = select(func.max(workers.c.last_seen)).where(workers.c.host == socket.gethostname())
    seen = connection.scalar(here)
sys.exit(0 if seen is not None and now(database) - seen < LATELY else f"no worker seen here lately (last: {seen})")
