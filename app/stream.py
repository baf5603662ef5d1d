"""The events of a job as they happen: one poller per process, any number of listeners, none of them missing one."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app import events, jobs
from app.events import ENDS, Event

log = logging.getLogger(__name__)

PAGE = 500  # events read at once
BACKLOG = 1000  # events kept for a listener that does not take them; beyond them it reads from the database again


class Feed:
    """Hands the events of the jobs that are listened to in this process to their listeners.

    Polling works alike for SQLite and PostgreSQL and for events written by other processes. Each event is read once
    for all listeners. One that comes, or that fell behind, reads from the database until it stands where the feed does.
    """

    def __init__(self, db: Engine, poll_seconds: float) -> None:
        self._db = db
        self._poll_seconds = poll_seconds
        self._newest: int | None = None  # of all events: those up to here were handed out; None while nobody listens
        self._listeners: defaultdict[str, set[_Listener]] = defaultdict(set)

    async def poll(self) -> None:
        """Runs for the life of the process."""
        while True:
            if not self._listeners:
                self._newest = None
            else:
                try:
                    await self._look()
                except OperationalError:
                    # Else every stream of this process would stand still for ever. The requests say what is wrong.
                    log.warning("the events cannot be read; trying again")
            await asyncio.sleep(self._poll_seconds)

    async def _look(self) -> None:
        asked = set(self._listeners)
        if self._newest is None:
            newest, fresh, is_all = await asyncio.to_thread(events.newest, self._db), list[Event](), False
        else:
            newest, fresh = await asyncio.to_thread(events.fresh, self._db, self._newest, asked, BACKLOG)
            is_all = len(fresh) < BACKLOG
        for event in fresh:
            for listener in self._listeners.get(event.job_id, ()):
                listener.give(event)
        for job_id, listeners in self._listeners.items():
            # Of a job that nobody listened to when the look began, events may have come since its listener read them.
            if newest != self._newest and not (is_all and job_id in asked):
                for listener in listeners:
                    listener.fall_behind()
        self._newest = newest

    async def follow(self, job_id: str, after: int) -> AsyncIterator[Event]:
        """The events of a job with `seq` > `after`, old ones first; ends when the job is over and all were given."""
        listener = _Listener()
        self._listeners[job_id].add(listener)
        try:
            while True:
                listener.catch_up()  # what is given from here on is kept, and what is read may hold it too
                while True:
                    ended, page = await asyncio.to_thread(self._read, job_id, after)
                    for event in page:
                        yield event
                        after = event.seq
                    if len(page) < PAGE:
                        break
                if ended:
                    return
                async for event in listener:
                    if event.seq > after:
                        yield event
                        after = event.seq
                        if event.type in ENDS:  # unless further trials were asked for meanwhile
                            break
        finally:
            self._leave(job_id, listener)

    def _leave(self, job_id: str, listener: "_Listener") -> None:
        self._listeners[job_id].remove(listener)
        if not self._listeners[job_id]:
            del self._listeners[job_id]

    def _read(self, job_id: str, after: int) -> tuple[bool, list[Event]]:
        # The job first: one that is over by now has written its last event before the page is read.
        return jobs.has_ended(self._db, job_id), events.after(self._db, after, job_id, PAGE)


class _Listener:
    """What one listener was given and did not take yet. Iterating waits for more, and ends when it fell behind."""

    def __init__(self) -> None:
        self._given: list[Event] = []
        self._behind = False
        self._woken = asyncio.Event()

    def give(self, event: Event) -> None:
        if len(self._given) == BACKLOG:
            self.fall_behind()
        elif not self._behind:
            self._given.append(event)
            self._woken.set()

    def fall_behind(self) -> None:
        self._given.clear()
        self._behind = True
        self._woken.set()

    def catch_up(self) -> None:
        self._behind = False

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not self._behind:
            await self._woken.wait()
            self._woken.clear()
            given, self._given = self._given, []
            for event in given:
                yield event
