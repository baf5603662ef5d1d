"""The server: REST, pages and dashboard over one state directory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from app import dashboard, database, pages, problems
from app.api import events, health, jobs, results
from app.guards import LOOPBACK, Guards
from app.settings import Settings
from app.stream import Feed


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Creates or upgrades both databases first."""
    database.upgrade(settings)
    app = FastAPI(
        title="SNAS",
        version=version("snas"),
        summary="Finds which connections a neural network needs.",
        docs_url=None,  # their scripts come from another site
        redoc_url=None,
        lifespan=_lifespan,
        responses=problems.documented(400, 403, 405, 500, 503, 507),
    )
    app.state.settings = settings
    app.state.db = database.engine(settings)
    app.state.storage = database.optuna_storage(settings, read_only=True)
    app.state.feed = Feed(app.state.db, settings.poll_seconds)
    problems.install(app)
    app.add_middleware(Guards, hosts=LOOPBACK | set(settings.allowed_hosts))
    app.include_router(_api())
    app.include_router(health.router)
    pages.install(app)
    app.router.routes.extend(dashboard.routes(app.state.storage))
    return app


def _api() -> APIRouter:
    api = APIRouter(prefix="/api/v1")
    for part in (jobs, results, events):
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
