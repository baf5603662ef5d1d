"""The life of a job as its owner sees it: listed, shared, cancelled.

`queueing` begins it. Its owner halts and changes it: `pauses`, `revisions`. Workers move it on: `claims`, `endings`,
`advance`.
"""

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

from optuna.storages import BaseStorage
from sqlalchemy import Connection, Engine, Row, null, or_, select, tuple_, update

from app import audit, cursors, events, tables
from app.callers import LOCAL, Caller
from app.database import clock, reading
from search import study
from search.problem import Problem, problem_json
from search.spec import parse

ACTIVE = ("queued", "running", "confirming")
PAUSED = "paused"
ENDED = ("completed", "failed", "cancelled")
STAGES = ("search", "shortlist", "final")
_jobs, _runs = tables.jobs.c, tables.runs.c
_ID = re.compile("[0-9a-f]{32}")


class JobNotFound(LookupError):
    """No job has this id."""


class JobFinished(ValueError):
    """The job has ended: there is nothing left to cancel, pause or change."""


@dataclass(frozen=True)
class Job:
    """One request of a user.

    state    queued, running, confirming, paused, completed, failed or cancelled
    stage    whose runs are handed out: search, shortlist or final
    trials   asked of the search
    earlier  its earlier ends, where more trials were asked of it: {trials, finished, verdict} each
    report   of a completed job; None in a list
    shared   every caller may see it; else its owner and administrators
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
    earlier: list[dict[str, Any]]
    report: dict[str, Any] | None
    shared: bool

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def awake(self) -> str:
        """The state of a job on its way, paused or not: it follows from how far the job is."""
        if self.stage != "search":
            return "confirming"
        return "queued" if self.started is None else "running"


def get(db: Engine, job_id: str) -> Job:
    """Raises: JobNotFound."""
    if not _ID.fullmatch(job_id):  # no database is asked for what may not even be text to it
        raise JobNotFound(f"no job has the id {job_id!r}")
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
    db: Engine,
    limit: int = 20,
    cursor: str | None = None,
    state: str | None = None,
    text: str | None = None,
    owner: str | None = None,
    seen_by: Caller = LOCAL,
) -> tuple[list[Job], str | None]:
    """Up to `limit` of the jobs that the caller may see, newest first, and the cursor of the next page.

    text  looked for in their names

    Raises: cursors.InvalidCursor.
    """
    query = select(*_columns("report")).order_by(_jobs.created.desc(), _jobs.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(tuple_(_jobs.created, _jobs.id) < tuple_(*cursors.place(cursor)))
    if state is not None:
        query = query.where(_jobs.state == state)
    if text is not None:
        query = query.where(_jobs.name.icontains(text, autoescape=True))
    if owner is not None:
        query = query.where(_jobs.owner == owner)
    if not seen_by.sees_all:
        query = query.where(or_(_jobs.owner == seen_by.owner, _jobs.shared))
    with reading(db) as connection:
        found = [_job(row) for row in connection.execute(query)]
    shown = found[:limit]
    return shown, cursors.cursor(shown[-1].created, shown[-1].id) if len(found) > limit else None


def share(db: Engine, job_id: str, shared: bool, by: Caller = LOCAL) -> Job:
    """Lets every caller see a job, or its owner alone again. Raises: JobNotFound."""
    with db.begin() as connection:
        changed = update(tables.jobs).where(_jobs.id == job_id, _jobs.shared != shared).values(shared=shared)
        if connection.execute(changed).rowcount == 1:
            audit.add(connection, by, "job.shared" if shared else "job.unshared", job_id)
    return get(db, job_id)


def cancel(db: Engine, job_id: str, by: Caller = LOCAL) -> Job:
    """Asks that a job end: one that has not begun is cancelled at once, another when its workers have stopped.

    Raises: JobNotFound, JobFinished.
    """
    with db.begin() as connection:
        job = open_job(connection, job_id)
        audit.add(connection, by, "job.cancelled", job_id)
        if job.awake == "queued":
            _cancel_now(connection, job_id)
        else:
            stop(connection, job)
    return get(db, job_id)


def lock(connection: Connection, job_id: str) -> Job:
    """The job, which stays as it is until the transaction ends. Raises: JobNotFound."""
    # Without its key: the rows that others insert for the job (events) must not wait for it.
    row = connection.execute(select(*_columns()).where(_jobs.id == job_id).with_for_update(key_share=True)).first()
    if row is None:
        raise JobNotFound(f"no job has the id {job_id!r}")
    return _job(row)


def open_job(connection: Connection, job_id: str) -> Job:
    """The same of a job that has not ended. Raises: JobNotFound, JobFinished."""
    job = lock(connection, job_id)
    if job.ended:
        raise JobFinished(f"the job has {'been ' if job.state == 'cancelled' else ''}{job.state} already")
    return job


def stop(connection: Connection, job: Job, error: str | None = None) -> None:
    """Nothing of a locked job begins any more, and what is at work is stopped; it then ends.

    error  why it has failed; None: it is cancelled
    """
    values = {"cancel_requested": True, "state": job.awake, "paused_at": None}
    told = {} if job.cancel_requested else {"error": error}
    connection.execute(update(tables.jobs).where(_jobs.id == job.id).values(**values, **told))
    # Runs that no worker holds, as if their lease had ended: whoever sweeps next tells Optuna and closes them.
    connection.execute(
        update(tables.runs)
        .where(_runs.job_id == job.id, _runs.state == "waiting")
        .values(state="finishing", ending="cancelled", lease_until=0.0)
    )


def _cancel_now(connection: Connection, job_id: str) -> None:
    values = {"cancel_requested": True, "state": "cancelled", "finished": clock(connection), "paused_at": None}
    connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**values))
    events.add(connection, job_id, "job.cancelled")


def halted(db: Engine, job_id: str) -> Literal["cancelled", "paused"] | None:
    """Why what is at work of a job is to stop; None where it goes on."""
    with reading(db) as connection:
        row = connection.execute(select(_jobs.cancel_requested, _jobs.state).where(_jobs.id == job_id)).one()
    if row.cancel_requested:
        return "cancelled"
    return "paused" if row.state == PAUSED else None


def open_study(db: Engine, storage: BaseStorage, job: Job) -> None:
    """Makes the study of a job unless it is there, and keeps the number by which the dashboard knows it."""
    if job.optuna_study_id is None:
        study_id = study.create(storage, job.study_name, parse(job.spec))
        with db.begin() as connection:
            connection.execute(update(tables.jobs).where(_jobs.id == job.id).values(optuna_study_id=study_id))


def keep_problem(connection: Connection, job_id: str, problem: Problem) -> None:
    """Inside a worker's fence: what it has found out of the job for all trials that follow."""
    connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(problem=problem_json(problem)))


def _columns(*left_out: str) -> list[Any]:
    names = [field.name for field in fields(Job)]
    return [null().label(name) if name in left_out else _jobs[name] for name in names]


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)
