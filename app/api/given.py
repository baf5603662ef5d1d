"""What the application gives to its routes."""

from typing import Annotated

from fastapi import Depends, Request
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import jobs
from app.settings import Settings
from app.stream import Feed


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _db(request: Request) -> Engine:
    db: Engine = request.app.state.db
    return db


def _storage(request: Request) -> RDBStorage:
    # No request writes to Optuna's database: workers do.
    storage: RDBStorage = request.app.state.storage
    return storage


def _feed(request: Request) -> Feed:
    feed: Feed = request.app.state.feed
    return feed


Config = Annotated[Settings, Depends(_settings)]
Db = Annotated[Engine, Depends(_db)]
Storage = Annotated[RDBStorage, Depends(_storage)]
Live = Annotated[Feed, Depends(_feed)]


def _job(job_id: str, db: Db) -> jobs.Job:
    return jobs.get(db, job_id)


Known = Annotated[jobs.Job, Depends(_job)]
"""The job named in the path; 404 where there is none."""
