"""A job enters the queue: once for each key of a request, within its owner's quotas, on data that are there."""

import uuid

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import IntegrityError

from app import audit, events, jobs, quotas, tables
from app.callers import LOCAL, Caller
from app.database import clock, reading
from app.jobs import Job
from app.quotas import UNLIMITED, Quotas
from models.data import Upload
from search.problem import Problem, problem_json
from search.spec import JobSpec, dump


class DatasetGone(LookupError):
    """The data set that the job trains on was deleted while the job was submitted."""


class IdempotencyConflict(ValueError):
    """This Idempotency-Key was used before, with another body."""


def submit(
    db: Engine,
    spec: JobSpec,
    problem: Problem,
    by: Caller = LOCAL,
    key: str | None = None,
    body_hash: str | None = None,
    allowed: Quotas = UNLIMITED,
) -> tuple[Job, bool]:
    """Queues a job of the caller's; True where it is new, False where the same key and body made it before.

    Raises: IdempotencyConflict, QuotaExceeded, DatasetGone.
    """
    owner = by.owner
    try:
        with db.begin() as connection:
            quotas.hold(connection, owner, allowed)
            earlier = None if key is None else _same(connection, owner, key, body_hash)
            if earlier is None:
                quotas.check(connection, owner, allowed, jobs=1, trials=spec.search.trials)
                at = clock(connection)
                job_id = _insert(connection, spec, problem, owner, at)
                if key is not None:
                    used = {"owner": owner, "key": key, "body_hash": body_hash, "job_id": job_id, "created": at}
                    connection.execute(insert(tables.idempotency).values(**used))
                audit.add(connection, by, "job.submitted", job_id, {"name": spec.name})
                events.add(connection, job_id, "job.submitted", {"name": spec.name})
    except IntegrityError:
        # On PostgreSQL two requests may both find the key unused: the later insert fails, and its job with it.
        with reading(db) as connection:
            earlier = _same(connection, owner, str(key), body_hash)
        assert earlier is not None, "only the key of a request can clash"
    return jobs.get(db, earlier or job_id), earlier is None


def _insert(connection: Connection, spec: JobSpec, problem: Problem, owner: str, at: float) -> str:
    if isinstance(spec.data, Upload):
        hold_data(connection, spec.data)
    job_id = uuid.uuid4().hex
    minutes = spec.search.max_minutes
    connection.execute(
        insert(tables.jobs).values(
            id=job_id,
            name=spec.name,
            owner=owner,
            state="queued",
            stage="search",
            spec=dump(spec),
            problem=problem_json(problem),
            priority=spec.priority,
            trials=spec.search.trials,
            next_ordinal=0,
            max_parallel=spec.search.max_parallel,
            max_failed=spec.search.max_failed,
            max_seconds=None if minutes is None else 60 * minutes,
            created=at,
            cancel_requested=False,
            earlier=[],
            study_name=f"{spec.name} {job_id[:8]}",
        )
    )
    return job_id


def hold_data(connection: Connection, data: Upload) -> None:
    """Raises: DatasetGone."""
    # Locked against `datasets.remove`, which looks for unfinished jobs: it finds this one, or was there before.
    held = select(tables.datasets.c.id).where(tables.datasets.c.id == data.id, tables.datasets.c.sha256 == data.sha256)
    if connection.execute(held.with_for_update(read=True)).first() is None:
        raise DatasetGone(f"the data set {data.name!r} has been deleted")


def _same(connection: Connection, owner: str, key: str, body_hash: str | None) -> str | None:
    used = tables.idempotency.c
    row = connection.execute(select(used.job_id, used.body_hash).where(used.owner == owner, used.key == key)).first()
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise IdempotencyConflict(f"the Idempotency-Key {key!r} was used before, with another body")
    return str(row.job_id)
