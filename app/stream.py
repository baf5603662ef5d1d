"""The events of a job as they happen: one poller per process, any number of listeners, none of them missing one."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app import events, jobs
from app.events import Event

log = logging.getLogger(__name__)


class Feed:
    """Tells the listeners of this process when events of their job were added.

    Polling works alike for SQLite and PostgreSQL and for events written by other processes. A listener reads its own
    rows, always from the last one it sent, so that a notice may come twice or late but never leaves a gap.
    """

    def __init__(self, db: Engine, poll_seconds: float) -> None:
        self._db = db
        self._poll_seconds = poll_seconds
        self._newest = 0  # of all events; whoever reads after it was read has seen as much
        self._told: dict[str, int] = {}  # per job that is listened to: `_newest` as it last had new ones
        self._listeners: Counter[str] = Counter()
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
        if newest == self._newest:
            return
        # Who listens is looked up after the number was read: one that comes later reads up to it by itself.
        grown = await asyncio.to_thread(events.grown, self._db, self._newest, set(self._listeners))
        async with self._grown:
            self._newest = newest
            self._told |= dict.fromkeys(grown & self._listeners.keys(), newest)
            self._grown.notify_all()

    async def follow(self, job_id: str, after: int) -> AsyncIterator[Event]:
        """The events of a job with `seq` > `after`, old ones first; ends when the job is over and all were given."""
        self._listeners[job_id] += 1
        try:
            while True:
                newest = self._newest
                ended, page = await asyncio.to_thread(self._read, job_id, after)
                for event in page:
                    yield event
                    after = event.seq
                if not page and ended:
                    return
                if not page:
                    await self._beyond(job_id, newest)
        finally:
            self._leave(job_id)

    def _leave(self, job_id: str) -> None:
        self._listeners[job_id] -= 1
        if not self._listeners[job_id]:
            del self._listeners[job_id]
            self._told.pop(job_id, None)

    def _read(self, job_id: str, after: int) -> tuple[bool, list[Event]]:
        # The job first: one that is over by now has written its last event before the page is read.
        return jobs.has_ended(self._db, job_id), events.after(self._db, after, job_id)

    async def _beyond(self, job_id: str, newest: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: self._told.get(job_id, 0) > newest)
