"""A job from a request to the queue: examined with its data, for the caller who asks."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from app import earlier, queueing
from app.callers import Caller
from app.data_of_job import examined
from app.jobs import Job
from app.quotas import Quotas
from app.settings import Settings
from search.spec import JobSpec, dump, parse
from search.warm_start import warmed


def submit(db: Engine, settings: Settings, spec: JobSpec, caller: Caller, key: str | None = None) -> tuple[Job, bool]:
    """Queues a job; True where it is new, False where the same key and job made it before.

    Raises: InvalidSpec for what only the data, its shapes or the jobs it starts from show;
        DatasetNotFound, DatasetNotReady; app.queueing.IdempotencyConflict, QuotaExceeded. Then nothing is made.
    """
    found, problem = examined(db, settings, spec, caller)
    warm = warmed(found, problem, earlier.networks(db, caller, found))
    return queueing.submit(db, found, warm, caller, key, _hash(spec), Quotas.of(settings))


def merged(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> JobSpec:
    """The job with these fields in place of its own. Raises: InvalidSpec."""
    return parse(_merged(spec, changes))


def _merged(value: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(value)
    for name, change in changes.items():
        own = result.get(name)
        if isinstance(own, Mapping) and isinstance(change, Mapping) and _alike(own, change):
            change = _merged(own, change)
        result[name] = change
    return result


def _alike(own: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    # Of another kind, nothing that was set for the old one means anything.
    return bool(change.get("kind", own.get("kind")) == own.get("kind"))


def _hash(spec: JobSpec) -> str:
    # Of the job, not of its bytes: a retry by another client may order its fields differently.
    return hashlib.sha256(json.dumps(dump(spec), sort_keys=True).encode()).hexdigest()
