"""The life of a job as its owner sees it: submitted, listed, cancelled.

Workers move it on: `claims`, `endings`, `advance`.
"""

import base64
import binascii
import uuid
from dataclasses import dataclass, fields
from typing import Any

from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, Row, insert, null, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from app import events, tables
from app.database import clock, reading
from search import study
from search.problem import Problem, problem_json
from search.spec import JobSpec, dump, parse

ACTIVE = ("queued", "running", "confirming")
ENDED = ("completed", "failed", "cancelled")
STAGES = ("search", "shortlist", "final")
_jobs, _runs = tables.jobs.c, tables.runs.c


class JobNotFound(LookupError):
    """No job has this id."""


class JobFinished(ValueError):
    """The job has ended: there is nothing left to cancel."""


class IdempotencyConflict(ValueError):
    """This Idempotency-Key was used before, with another body."""


class InvalidCursor(ValueError):
    """The cursor is not one that a list gave."""


@dataclass(frozen=True)
class Job:
    """One request of a user.

    state    queued, running, confirming, completed, failed or cancelled
    stage    whose runs are handed out: search, shortlist or final
    trials   asked of the search
    report   of a completed job; None in a list
    """

    id: str
    name: str
    owner: str
    state: str
    stage: str
    spec: dict[str, Any]
    problem: dict[str, Any]
    priority: int
    trials: int
    created: float
    started: float | None
    finished: float | None
    error: str | None
    cancel_requested: bool
    study_name: str
    optuna_study_id: int | None
    report: dict[str, Any] | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def submit(
    db: Engine,
    spec: JobSpec,
    problem: Problem,
    owner: str = "local",
    key: str | None = None,
    body_hash: str | None = None,
) -> tuple[Job, bool]:
    """Queues a job; True where it is new, False where the same key and body made it before.

    Raises: IdempotencyConflict.
    """
    try:
        with db.begin() as connection:
            earlier = None if key is None else _same(connection, owner, key, body_hash)
            if earlier is None:
                at = clock(connection)
                job_id = _insert(connection, spec, problem, owner, at)
                if key is not None:
                    used = {"owner": owner, "key": key, "body_hash": body_hash, "job_id": job_id, "created": at}
                    connection.execute(insert(tables.idempotency).values(**used))
                events.add(connection, job_id, "job.submitted", {"name": spec.name})
    except IntegrityError:
        # On PostgreSQL two requests may both find the key unused: the later insert fails, and its job with it.
        with reading(db) as connection:
            earlier = _same(connection, owner, str(key), body_hash)
        assert earlier is not None, "only the key of a request can clash"
    return get(db, earlier or job_id), earlier is None


def get(db: Engine, job_id: str) -> Job:
    """Raises: JobNotFound."""
    with reading(db) as connection:
        row = connection.execute(select(*_columns()).where(_jobs.id == job_id)).first()
    if row is None:
        raise JobNotFound(f"no job has the id {job_id!r}")
    return _job(row)


def has_ended(db: Engine, job_id: str) -> bool:
    """Raises: JobNotFound."""
    with reading(db) as connection:
        state = connection.execute(select(_jobs.state).where(_jobs.id == job_id)).scalar()
    if state is None:
        raise JobNotFound(f"no job has the id {job_id!r}")
    return state in ENDED


def page(
    db: Engine, limit: int = 20, cursor: str | None = None, state: str | None = None, text: str | None = None
) -> tuple[list[Job], str | None]:
    """Up to `limit` jobs, newest first, and the cursor of the next page; `text` is looked for in their names.

    Raises: InvalidCursor.
    """
    query = select(*_columns("report")).order_by(_jobs.created.desc(), _jobs.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(tuple_(_jobs.created, _jobs.id) < tuple_(*_place(cursor)))
    if state is not None:
        query = query.where(_jobs.state == state)
    if text is not None:
        query = query.where(_jobs.name.icontains(text, autoescape=True))
    with reading(db) as connection:
        found = [_job(row) for row in connection.execute(query)]
    shown = found[:limit]
    return shown, _cursor(shown[-1]) if len(found) > limit else None


def cancel(db: Engine, job_id: str) -> Job:
    """Asks that a job end: one that has not begun is cancelled at once, another when its workers have stopped.

    Raises: JobNotFound, JobFinished.
    """
    with db.begin() as connection:
        locked = select(_jobs.state).where(_jobs.id == job_id).with_for_update(key_share=True)
        state = connection.execute(locked).scalar()
        if state is None:
            raise JobNotFound(f"no job has the id {job_id!r}")
        if state in ENDED:
            raise JobFinished(f"the job has {'been ' if state == 'cancelled' else ''}{state} already")
        if state == "queued":
            _cancel_now(connection, job_id)
        else:
            _ask_to_cancel(connection, job_id)
    return get(db, job_id)


def _cancel_now(connection: Connection, job_id: str) -> None:
    values = {"cancel_requested": True, "state": "cancelled", "finished": clock(connection)}
    connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**values))
    events.add(connection, job_id, "job.cancelled")


def _ask_to_cancel(connection: Connection, job_id: str) -> None:
    connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(cancel_requested=True))
    # Runs that no worker holds, as if their lease had ended: whoever sweeps next tells Optuna and closes them.
    connection.execute(
        update(tables.runs)
        .where(_runs.job_id == job_id, _runs.state == "waiting")
        .values(state="finishing", ending="cancelled", lease_until=0.0)
    )


def cancelling(db: Engine, job_id: str) -> bool:
    with reading(db) as connection:
        return bool(connection.execute(select(_jobs.cancel_requested).where(_jobs.id == job_id)).scalar_one())


def open_study(db: Engine, storage: BaseStorage, job: Job) -> None:
    """Makes the study of a job unless it is there, and keeps the number by which the dashboard knows it."""
    if job.optuna_study_id is None:
        study_id = study.create(storage, job.study_name, parse(job.spec))
        with db.begin() as connection:
            connection.execute(update(tables.jobs).where(_jobs.id == job.id).values(optuna_study_id=study_id))


def _insert(connection: Connection, spec: JobSpec, problem: Problem, owner: str, at: float) -> str:
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
            max_seconds=None if minutes is None else 60 * minutes,
            created=at,
            cancel_requested=False,
            study_name=f"{spec.name} {job_id[:8]}",
        )
    )
    return job_id


def _same(connection: Connection, owner: str, key: str, body_hash: str | None) -> str | None:
    used = tables.idempotency.c
    row = connection.execute(select(used.job_id, used.body_hash).where(used.owner == owner, used.key == key)).first()
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise IdempotencyConflict(f"the Idempotency-Key {key!r} was used before, with another body")
    return str(row.job_id)


def _columns(*left_out: str) -> list[Any]:
    names = [field.name for field in fields(Job)]
    return [null().label(name) if name in left_out else _jobs[name] for name in names]


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)


def _cursor(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created!r} {job.id}".encode()).decode()


def _place(cursor: str) -> tuple[float, str]:
    try:
        created, job_id = base64.urlsafe_b64decode(cursor.encode("ascii", "strict")).decode().split(" ")
        return float(created), job_id
    except (ValueError, binascii.Error):
        raise InvalidCursor(f"{cursor!r} is not a cursor that a list of jobs gave") from None
