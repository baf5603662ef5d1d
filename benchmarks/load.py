"""The service under load, on this machine: a state with many jobs, listeners, submitters and readers at once.

Fills a database, starts the real server and asks it over HTTP, all on the cores that are there. Prints the time that
requests take and how many events the listeners missed.
"""

import asyncio
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx2
from sqlalchemy import select

from app import database, events, local, tables
from app.settings import Settings
from benchmarks.filled import JOB, fill
from benchmarks.jobs import keep

EVENTS_PER_SECOND = 20  # told by a process beside, of the jobs that are listened to
FOLLOWED = 20  # jobs that the listeners share
READERS = 10  # each asks once a second: the list, the page of jobs, the page of a job, a job
LIMITS = {"list": 150.0, "page of jobs": 150.0, "page of a job": 150.0, "submit": 200.0}  # ms, 95 % of requests

Took = dict[str, list[float]]


def main() -> int:
    options = _options()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(state_dir=options.state or Path(directory))
        made = _filled(settings, options, chance)
        with local.server(settings.state_dir, None, workers=0) as server:
            took, missed, heard = asyncio.run(_load(settings, server.url, made, options, chance))
    result = {name: _percentiles(seconds) for name, seconds in sorted(took.items())}
    for name, each in result.items():
        limit = f"   (limit {LIMITS[name]:.0f})" if name in LIMITS else ""
        print(f"{name:20} n {each['n']:5}  p50 {each['p50']:7.1f} ms  p95 {each['p95']:7.1f} ms{limit}")
    print(f"events heard {heard}, missed {missed}; load of this machine {os.getloadavg()[0]:.1f}")
    if options.keep:
        keep(options.keep, {**result, "events": {"heard": heard, "missed": missed}, "load": os.getloadavg()[0]})
    slow = [name for name, limit in LIMITS.items() if result[name]["p95"] > limit]
    return 1 if missed or slow else 0


def _filled(settings: Settings, options: Namespace, chance: random.Random) -> dict[str, list[str]]:
    listed = settings.state_dir / "filled.json"
    if not listed.exists():
        began = time.monotonic()
        listed.write_text(json.dumps(fill(settings, options.jobs, options.trials, chance)))
        size = (settings.state_dir / "app.db").stat().st_size / 2**20
        print(
            f"{options.jobs} jobs, {options.trials} trials: {size:.0f} MiB in {time.monotonic() - began:.0f} s",
            flush=True,
        )
    made: dict[str, list[str]] = json.loads(listed.read_text())
    return made


async def _load(
    settings: Settings, url: str, made: dict[str, list[str]], options: Namespace, chance: random.Random
) -> tuple[Took, int, int]:
    took: Took = defaultdict(list)
    followed = made["running"][:FOLLOWED]
    heard: list[tuple[str, set[int]]] = []
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60.0, limits=limits, trust_env=False) as client:
        listeners = []
        for number in range(options.listeners):
            heard.append((followed[number % len(followed)], set()))
            listeners.append(asyncio.create_task(_listen(client, *heard[-1])))
        spawning = multiprocessing.get_context("spawn")
        ready, goes = spawning.Event(), spawning.Event()
        teller = spawning.Process(target=_tell, args=(settings, followed, options.seconds, ready, goes))
        teller.start()
        # All that was told before has been heard: starting up is not what is measured.
        told = _told(settings, followed)
        await _settle(lambda: ready.is_set() and all(told[job_id] <= seen for job_id, seen in heard), 120.0)
        goes.set()
        over = time.monotonic() + options.seconds
        try:
            await asyncio.gather(
                *(_submit(client, took, over, chance.random() * 2) for _ in range(options.submitters)),
                *(_read(client, took, over, chance.random(), made, random.Random(n)) for n in range(READERS)),
            )
            await asyncio.to_thread(teller.join)
            told = _told(settings, followed)
            await _settle(lambda: all(told[job_id] <= seen for job_id, seen in heard))
        finally:
            teller.kill()
            for listener in listeners:
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)
        for job_id in made["large"]:
            for _ in range(3):
                await _ask(client, took, "page of a job with thousands of trials", f"/ui/jobs/{job_id}")
    return took, sum(len(told[job_id] - seen) for job_id, seen in heard), sum(len(seen) for _, seen in heard)


async def _listen(client: httpx2.AsyncClient, job_id: str, seen: set[int]) -> None:
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events") as answer:
        async for line in answer.aiter_lines():
            if line.startswith("id:"):
                seen.add(int(line[3:]))


async def _submit(client: httpx2.AsyncClient, took: Took, over: float, first: float) -> None:
    await asyncio.sleep(first)
    while time.monotonic() < over:
        began = time.monotonic()
        answer = await client.post("/api/v1/jobs", json={**JOB, "name": "submitted", "seed": random.getrandbits(31)})
        assert answer.status_code == 201, answer.text
        took["submit"].append(time.monotonic() - began)
        await asyncio.sleep(max(0.0, began + 2 - time.monotonic()))


async def _read(
    client: httpx2.AsyncClient, took: Took, over: float, first: float, made: dict[str, list[str]], chance: random.Random
) -> None:
    await asyncio.sleep(first)
    small = [job_id for job_id in made["running"] + made["ended"][:1000] if job_id not in made["large"]]
    while time.monotonic() < over:
        began = time.monotonic()
        job_id = chance.choice(small)
        name, path = chance.choice(
            [
                ("list", "/api/v1/jobs?limit=20"),
                ("page of jobs", "/ui"),
                ("page of jobs by name", "/ui?q=digits+77"),
                ("page of a job", f"/ui/jobs/{job_id}"),
                ("job", f"/api/v1/jobs/{job_id}"),
            ]
        )
        await _ask(client, took, name, path)
        await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))


async def _ask(client: httpx2.AsyncClient, took: Took, name: str, path: str) -> None:
    began = time.monotonic()
    answer = await client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    took[name].append(time.monotonic() - began)


def _tell(settings: Settings, followed: list[str], seconds: float, ready: Event, goes: Event) -> None:
    """In a process of its own: epochs of the jobs that are listened to, one event a transaction."""
    db = database.engine(settings)
    ready.set()
    goes.wait()
    over, number = time.monotonic() + seconds, 0
    while time.monotonic() < over:
        with db.begin() as connection:
            events.add(connection, followed[number % len(followed)], "run.epoch", {"epoch": number, "loss": 1.0})
        number += 1
        time.sleep(1 / EVENTS_PER_SECOND)
    db.dispose()


def _told(settings: Settings, followed: list[str]) -> dict[str, set[int]]:
    db = database.engine(settings)
    with database.reading(db) as connection:
        column = tables.events.c
        query = select(column.job_id, column.seq).where(column.job_id.in_(followed))
        found: dict[str, set[int]] = defaultdict(set)
        for job_id, seq in connection.execute(query):
            found[job_id].add(seq)
    db.dispose()
    return found


async def _settle(done: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not done() and time.monotonic() < deadline:
        await asyncio.sleep(0.1)


def _percentiles(seconds: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    return {"n": len(seconds), "p50": 1000 * statistics.median(seconds), "p95": 1000 * cuts[-1]}


def _options() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, help="where the filled state is, or is to be; else a new one")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--trials", type=int, default=200_000)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--submitters", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--keep", help="a name in docs/results/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
