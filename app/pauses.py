"""A job that stands still: nothing of it is handed out or moved on, and its deadline waits with it.

Workers give back what they train of it, as the same attempt; a training that ends before they see the pause is kept.
"""

from sqlalchemy import Engine, update

from app import audit, events, failures, jobs, tables
from app.callers import LOCAL, Caller
from app.database import clock
from app.jobs import PAUSED, Job

_jobs = tables.jobs.c


class NotPausable(ValueError):
    """The job cannot be paused, or is not paused."""


def pause(db: Engine, job_id: str, by: Caller = LOCAL) -> Job:
    """Halts a job in whatever stage it is; one that is paused stays so.

    Raises: app.jobs.JobNotFound, app.jobs.JobFinished, NotPausable.
    """
    with db.begin() as connection:
        job = jobs.open_job(connection, job_id)
        if job.cancel_requested:
            raise NotPausable("the job is being stopped: it cannot be paused")
        if job.state != PAUSED:
            values = {"state": PAUSED, "paused_at": clock(connection)}
            connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**values))
            audit.add(connection, by, "job.paused", job_id)
            events.add(connection, job_id, "job.paused", {"stage": job.stage})
    return jobs.get(db, job_id)


def resume(db: Engine, job_id: str, by: Caller = LOCAL) -> Job:
    """Lets a paused job go on where it was. Raises: app.jobs.JobNotFound, app.jobs.JobFinished, NotPausable."""
    with db.begin() as connection:
        job = jobs.open_job(connection, job_id)
        if job.state != PAUSED:
            raise NotPausable(f"the job is {job.state}: only a paused job can be resumed")
        later = _jobs.deadline + (clock(connection) - _jobs.paused_at)
        awake = {"state": job.awake, "paused_at": None, "deadline": later}  # without a deadline, it stays null
        connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**awake))
        failures.stop_beyond_limit(connection, jobs.lock(connection, job_id))
        audit.add(connection, by, "job.resumed", job_id)
        events.add(connection, job_id, "job.resumed", {"state": job.awake})
    return jobs.get(db, job_id)
