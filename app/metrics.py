"""What Prometheus reads: counted in the database at the moment of asking, so that it holds for every process and
outlives each of them.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, case, func, select

from app import jobs, runs, tables
from app.database import clock, reading

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0
SECONDS = (1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10800.0)
"""Bounds of the buckets in which trials are counted."""
_jobs, _runs = tables.jobs.c, tables.runs.c


def registry(db: Engine) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    made.register(Counts(db))
    return made


def written(of: CollectorRegistry) -> bytes:
    return generate_latest(of)


class Counts(Collector):
    def __init__(self, db: Engine) -> None:
        self._db = db

    def collect(self) -> Iterator[Metric]:
        with reading(self._db) as connection:
            at = clock(connection)
            yield _by_label("snas_jobs", "Jobs by state.", "state", _jobs_by_state(connection))
            yield from _queue(connection, at)
            yield _by_label("snas_runs_open", "Runs that are not over, by state.", "state", _open_runs(connection))
            yield from _ended_runs(connection)
            yield _gauge("snas_workers", "Workers that were seen lately.", _count(connection, tables.workers))


def _queue(connection: Connection, at: float) -> Iterator[Metric]:
    claimable = _jobs.state.in_(("queued", "running", "confirming"))
    fresh = select(func.coalesce(func.sum(_jobs.trials - _jobs.next_ordinal), 0))
    fresh = fresh.where(claimable, _jobs.stage == "search", _jobs.cancel_requested.is_(False))
    waiting = select(func.count()).where(_runs.state == "waiting")
    depth = int(connection.execute(fresh).scalar_one()) + int(connection.execute(waiting).scalar_one())
    yield _gauge("snas_queue_depth", "Trials and confirmation runs that no worker has begun.", depth)
    oldest = connection.execute(select(func.min(_jobs.created)).where(_jobs.state == "queued")).scalar()
    age = 0.0 if oldest is None else at - oldest
    yield _gauge("snas_queue_oldest_seconds", "Age of the oldest job that no worker has begun.", age)


def _ended_runs(connection: Connection) -> Iterator[Metric]:
    ended = CounterMetricFamily("snas_runs_ended", "Runs that are over, by stage and how.", labels=["stage", "state"])
    query = select(_runs.stage, _runs.state, func.count()).group_by(_runs.stage, _runs.state)
    for stage, state, count in connection.execute(query.where(_runs.state.not_in(runs.OPEN))):
        ended.add_metric([stage, state], count)
    yield ended
    retries = select(func.count()).where(_runs.attempt > 1)
    yield _counter("snas_run_retries", "Further attempts, after a crash or silence.", connection, retries)
    expired = select(func.count()).where(_runs.state == "lost", _runs.ending == "expired")
    yield _counter("snas_lease_expiries", "Attempts whose worker fell silent.", connection, expired)
    yield _seconds(connection)


def _seconds(connection: Connection) -> Metric:
    took = _runs.finished - _runs.started
    # NULL counts nowhere, so that buckets hold those at or below their bound.
    within = [func.count(case((took <= bound, 1))) for bound in SECONDS]
    query = select(func.count(took), func.coalesce(func.sum(took), 0.0), *within)
    whole, total, *counts = connection.execute(query.where(_runs.state == "complete", _runs.started.is_not(None))).one()
    found = HistogramMetricFamily("snas_run_seconds", "From the beginning of a complete run's last attempt to its end.")
    buckets = [*zip(map(str, SECONDS), counts, strict=True), ("+Inf", whole)]
    found.add_metric([], buckets, total)
    return found


def _jobs_by_state(connection: Connection) -> dict[str, int]:
    query = select(_jobs.state, func.count()).group_by(_jobs.state)
    return dict.fromkeys((*jobs.ACTIVE, jobs.PAUSED, *jobs.ENDED), 0) | _counted(connection, query)


def _open_runs(connection: Connection) -> dict[str, int]:
    query = select(_runs.state, func.count()).where(_runs.state.in_(runs.OPEN)).group_by(_runs.state)
    return dict.fromkeys(runs.OPEN, 0) | _counted(connection, query)


def _counted(connection: Connection, query: Any) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(query)}


def _count(connection: Connection, table: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, connection: Connection, query: Any) -> Metric:
    return CounterMetricFamily(name, text, value=connection.execute(query).scalar_one())


def _by_label(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    found = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        found.add_metric([key], value)
    return found
