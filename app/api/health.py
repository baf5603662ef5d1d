"""/healthz, /readyz, /version, /metrics: for whoever watches over the server."""

import platform
from importlib.metadata import version as installed
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from app import metrics as prometheus
from app import readiness
from app.api.answers import Health, Version
from app.api.given import Db, Metrics, Reader, Storage
from app.problems import documented

LIBRARIES = ("torch", "numba", "optuna", "sqlalchemy", "fastapi")
"""Those that a result or an incident may depend on."""

WITHOUT_KEY: dict[str, Any] = {"security": []}

router = APIRouter(tags=["health"])


@router.get("/healthz", openapi_extra=WITHOUT_KEY)
def healthz() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz", openapi_extra=WITHOUT_KEY, responses=documented(503))
def readyz(db: Db, storage: Storage) -> Health:
    """Both databases answer and have the tables that this version needs."""
    readiness.check(db, storage)
    return Health()


@router.get("/version", responses=documented(503))
def version(db: Db) -> Version:
    """What runs here, and on which tables."""
    return Version(
        version=installed("snas"),
        python=platform.python_version(),
        libraries={name: installed(name) for name in LIBRARIES},
        database=db.dialect.name,
        revision=readiness.current(db),
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **documented(503)})
def metrics(caller: Reader, registry: Metrics) -> Response:
    """Counts of jobs and runs, the queue, times of runs and requests: for Prometheus."""
    return Response(prometheus.written(registry), media_type=prometheus.CONTENT_TYPE)
