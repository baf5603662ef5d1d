"""The events of a job as they happen: one poller per process, any number of listeners, none of them missing one."""

import asyncio
import logging
from collections.abc import AsyncIterator

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app import events, jobs
from app.events import Event

log = logging.getLogger(__name__)


class Feed:
    """Tells every listener of this process when the events table has grown.

    Polling works alike for SQLite and PostgreSQL and for events written by other processes. A listener reads its own
    rows, always from the last one it sent, so that a notice may come twice or late but never leaves a gap.
    """

    def __init__(self, db: Engine, poll_seconds: float) -> None:
        self._db = db
        self._poll_seconds = poll_seconds
        self._newest = 0
        self._listeners = 0
        self._grown = asyncio.Condition()

    async def poll(self) -> None:
        """Runs for the life of the process."""
        while True:
            if self._listeners:
                try:
                    await self._look()
                except OperationalError:
                    # Else every stream of this process would stand still for ever. The requests say what is wrong.
                    log.warning("the events cannot be read; trying again")
            await asyncio.sleep(self._poll_seconds)

    async def _look(self) -> None:
        newest = await asyncio.to_thread(events.newest, self._db)
        if newest != self._newest:
            async with self._grown:
                self._newest = newest
                self._grown.notify_all()

    async def follow(self, job_id: str, after: int) -> AsyncIterator[Event]:
        """The events of a job with `seq` > `after`, old ones first; ends when the job is over and all were given."""
        self._listeners += 1
        try:
            while True:
                newest = self._newest
                job, page = await asyncio.to_thread(self._read, job_id, after)
                for event in page:
                    yield event
                    after = event.seq
                if not page and job.ended:
                    return
                if not page:
                    await self._beyond(newest)
        finally:
            self._listeners -= 1

    def _read(self, job_id: str, after: int) -> tuple[jobs.Job, list[Event]]:
        # The job first: one that is over by now has written its last event before the page is read.
        return jobs.get(self._db, job_id), events.after(self._db, after, job_id)

    async def _beyond(self, newest: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: self._newest != newest)
