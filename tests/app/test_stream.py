"""Events as they happen."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from app import events, jobs, stream
from app.events import Event
from app.stream import Feed

Submit = Callable[..., jobs.Job]
PATIENCE = 20.0  # seconds until a test that hangs fails


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE))


@asynccontextmanager
async def polled(db: Engine) -> AsyncIterator[Feed]:
    feed = Feed(db, poll_seconds=0.01)
    polling = asyncio.create_task(feed.poll())
    yield feed
    polling.cancel()


def tell(db: Engine, job: jobs.Job, number: int) -> None:
    with db.begin() as connection:
        events.add(connection, job.id, "run.epoch", {"epoch": number})


def types(found: list[Event]) -> list[str]:
    return [event.type for event in found]


async def collected(events_of_job: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events_of_job]


def test_a_listener_hears_what_was_and_what_comes_until_the_job_is_over(db: Engine, submit: Submit) -> None:
    async def test() -> None:
        job = submit()
        async with polled(db) as feed:
            heard = feed.follow(job.id, 0)
            first = await anext(heard)
            assert first.type == "job.submitted"
            await asyncio.to_thread(tell, db, job, 1)
            assert (await anext(heard)).data == {"epoch": 1}
            await asyncio.to_thread(jobs.cancel, db, job.id)
            assert types(await collected(heard)) == ["job.cancelled"]

    run(test())


def test_each_listener_hears_every_event_of_its_own_job_once(db: Engine, submit: Submit) -> None:
    async def test() -> None:
        one, other = submit(name="one"), submit(name="other")
        async with polled(db) as feed:
            listeners = [asyncio.create_task(collected(feed.follow(job.id, 0))) for job in (one, one, other)]
            for number in range(30):
                await asyncio.to_thread(tell, db, one, number)
            for job in (one, other):
                await asyncio.to_thread(jobs.cancel, db, job.id)
            first, second, third = await asyncio.gather(*listeners)
        assert first == second
        assert [event.data["epoch"] for event in first if event.type == "run.epoch"] == list(range(30))
        assert types(third) == ["job.submitted", "job.cancelled"]

    run(test())


def test_a_backlog_longer_than_one_page_comes_whole(db: Engine, submit: Submit) -> None:
    async def test() -> None:
        job = submit()
        with db.begin() as connection:
            for number in range(510):
                events.add(connection, job.id, "run.epoch", {"epoch": number})
        jobs.cancel(db, job.id)
        async with polled(db) as feed:
            heard = await collected(feed.follow(job.id, 0))
        assert len(heard) == 512

    run(test())


def test_a_listener_that_saw_the_last_event_of_an_ended_job_is_not_kept_waiting(db: Engine, submit: Submit) -> None:
    async def test() -> None:
        job = submit()
        jobs.cancel(db, job.id)
        async with polled(db) as feed:
            assert await collected(feed.follow(job.id, events.newest(db))) == []

    run(test())


def test_without_listeners_the_database_is_left_alone(
    db: Engine, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(events, "newest", lambda _: looks.append(1) or 0)
    monkeypatch.setattr(events, "fresh", lambda *_: (looks.append(1) or 0, []))

    async def test() -> None:
        job = submit()
        async with polled(db) as feed:
            listener = asyncio.create_task(collected(feed.follow(job.id, 0)))
            while not looks:
                await asyncio.sleep(0)
            listener.cancel()
            await asyncio.wait([listener])
            seen = len(looks) + 1  # one look may be under way
            for _ in range(5):
                await asyncio.sleep(0.01)  # several polls' time; a slow machine only makes fewer of them
            assert len(looks) <= seen

    run(test())


def test_a_listener_that_comes_while_the_feed_reads_misses_nothing(
    db: Engine, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed has asked for the jobs listened to until then, and this one's event is older than what it finds."""

    async def test() -> None:
        job, other = submit(), submit()
        reads, goes_on = asyncio.Event(), threading.Event()
        loop, fresh = asyncio.get_running_loop(), events.fresh

        def slow(*given: Any) -> Any:
            loop.call_soon_threadsafe(reads.set)
            goes_on.wait(PATIENCE)
            return fresh(*given)

        async with polled(db) as feed:
            before = feed.follow(other.id, 0)
            await anext(before)
            waits = asyncio.create_task(anext(before))
            while feed._newest is None:
                await asyncio.sleep(0)
            monkeypatch.setattr(events, "fresh", slow)
            await reads.wait()
            heard = feed.follow(job.id, events.newest(db))
            first = asyncio.create_task(anext(heard))
            await asyncio.sleep(0.1)  # it has found nothing by itself, on all but the slowest machines
            await asyncio.to_thread(tell, db, job, 7)
            await asyncio.to_thread(tell, db, other, 8)
            goes_on.set()
            assert (await first).data == {"epoch": 7}
            assert (await waits).data == {"epoch": 8}

    run(test())


def test_a_listener_that_takes_nothing_for_long_is_given_the_rest_from_the_database(
    db: Engine, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BACKLOG", 3)

    async def test() -> None:
        job = submit()
        async with polled(db) as feed:
            heard = feed.follow(job.id, 0)
            await anext(heard)
            for number in range(20):
                await asyncio.to_thread(tell, db, job, number)
                if number % 5 == 0:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(jobs.cancel, db, job.id)
            found = await collected(heard)
        assert [event.data["epoch"] for event in found if event.type == "run.epoch"] == list(range(20))
        assert found[-1].type == "job.cancelled"

    run(test())


def test_each_event_is_read_once_however_many_listen(
    db: Engine, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, after = [], events.after

    def counted(*given: Any) -> list[Event]:
        reads.append(given)
        return after(*given)

    monkeypatch.setattr(events, "after", counted)

    async def test() -> None:
        job = submit()
        async with polled(db) as feed:
            streams = [feed.follow(job.id, 0) for _ in range(10)]
            for each in streams:
                await anext(each)
            for number in range(30):
                await asyncio.to_thread(tell, db, job, number)
                heard = await asyncio.gather(*(anext(each) for each in streams))
                assert [event.data for event in heard] == [{"epoch": number}] * 10
        assert len(reads) <= 50, "some when they came, and none for each event"

    run(test())
