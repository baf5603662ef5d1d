"""The server: REST, pages and dashboard over one state directory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from app import dashboard, database, firstkey, metrics, pages, problems
from app.api import audit, datasets, events, health, jobs, keys, results, runs
from app.gate import FAILURES_PER_MINUTE, Gate
from app.guards import LOOPBACK, Guards, Limits
from app.headers import Headers
from app.rates import Rate
from app.request_times import RequestTimes, watch_database
from app.settings import Settings
from app.stream import Feed


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Creates or upgrades both databases first, and the first key where one is given.

    Raises: firstkey.InvalidSecret
    """
    database.upgrade(settings)
    app = FastAPI(
        title="SNAS",
        version=version("snas"),
        summary="Finds which connections a neural network needs.",
        docs_url=None,  # their scripts come from another site
        redoc_url=None,
        lifespan=_lifespan,
        responses=problems.documented(400, 401, 403, 405, 429, 500, 503, 507),
        telemetry={"auto_configure": True},  # OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector
    )
    app.state.settings = settings
    app.state.db = database.engine(settings)
    app.state.storage = database.optuna_storage(settings, read_only=True)
    app.state.metrics = metrics.registry(app.state.db)
    watch_database(app.state.db, app.state.metrics)
    app.state.feed = Feed(app.state.db, settings.poll_seconds)
    app.state.requests = Rate(settings.requests_per_minute)
    app.state.failures = Rate(FAILURES_PER_MINUTE)
    firstkey.make(settings, app.state.db)
    problems.install(app)
    # Each goes around those before it.
    app.add_middleware(Gate, db=app.state.db, requests=app.state.requests, failures=app.state.failures)
    app.add_middleware(
        Guards,
        hosts=LOOPBACK | set(settings.allowed_hosts),
        ordinary=Limits(settings.largest_body, settings.body_seconds),
        upload=Limits(settings.largest_upload, settings.upload_seconds),
    )
    app.add_middleware(Headers)
    app.add_middleware(RequestTimes, registry=app.state.metrics)
    app.include_router(_api())
    app.include_router(health.router)
    pages.install(app)
    app.router.routes.extend(dashboard.routes(app.state.storage, app.state.db))
    return app


def _api() -> APIRouter:
    api = APIRouter(prefix="/api/v1")
    for part in (jobs, results, runs, events, datasets, keys, audit):
        api.include_router(part.router)
    return api


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    polling = asyncio.create_task(app.state.feed.poll())
    yield
    polling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await polling
    app.state.db.dispose()
    app.state.storage.remove_session()
    app.state.storage.engine.dispose()
