"""/healthz, /readyz, /version: for whoever watches over the server."""

from importlib.metadata import version as installed

from fastapi import APIRouter

from app import readiness
from app.api.answers import Health, Version
from app.api.given import Db, Storage
from app.problems import documented

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz() -> Health:
    """The process answers."""
    return Health()


@router.get("/readyz", responses=documented(503))
def readyz(db: Db, storage: Storage) -> Health:
    """Both databases answer and have the tables that this version needs."""
    readiness.check(db, storage)
    return Health()


@router.get("/version")
def version() -> Version:
    return Version(version=installed("snas"))
