"""What the application gives to its routes."""

from typing import Annotated

from fastapi import Depends, Request
from optuna.storages import RDBStorage
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from app import jobs
from app.callers import ADMIN, READ, SUBMIT, Caller, NotAllowed, Visitor
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


def _metrics(request: Request) -> CollectorRegistry:
    metrics: CollectorRegistry = request.app.state.metrics
    return metrics


Config = Annotated[Settings, Depends(_settings)]
Db = Annotated[Engine, Depends(_db)]
Storage = Annotated[RDBStorage, Depends(_storage)]
Live = Annotated[Feed, Depends(_feed)]
Metrics = Annotated[CollectorRegistry, Depends(_metrics)]


def _reader(request: Request) -> Caller:
    return _caller(request, READ)


def _submitter(request: Request) -> Caller:
    return _caller(request, SUBMIT)


def _admin(request: Request) -> Caller:
    return _caller(request, ADMIN)


def _caller(request: Request, scope: str) -> Caller:
    caller: Caller = request.state.caller  # app.gate lets nobody past without one
    caller.require(scope)
    return caller


def _visitor(request: Request) -> Visitor:
    visitor: Visitor = request.state.visitor
    return visitor


Reader = Annotated[Caller, Depends(_reader)]
Submitter = Annotated[Caller, Depends(_submitter)]
Admin = Annotated[Caller, Depends(_admin)]
Looking = Annotated[Visitor, Depends(_visitor)]


def _seen(job_id: str, db: Db, caller: Reader) -> jobs.Job:
    job = jobs.get(db, job_id)
    if not caller.may_see(job):
        raise jobs.JobNotFound(f"no job has the id {job_id!r}")  # as if there were none: its id is nobody else's to try
    return job


def _own(caller: Submitter, job: Annotated[jobs.Job, Depends(_seen)]) -> jobs.Job:
    if not caller.may_change(job):
        raise NotAllowed(f"the job {job.id!r} belongs to {job.owner!r}: only they may change it")
    return job


Known = Annotated[jobs.Job, Depends(_seen)]
"""The job named in the path, where the caller may see it; else 404."""
Own = Annotated[jobs.Job, Depends(_own)]
"""The same, where the caller may change it; else 403."""
