"""When so many trials of a search have failed that going on would only cost."""

from typing import Any

from sqlalchemy import Connection, select

from app import jobs, tables
from app.jobs import PAUSED, Job

_jobs, _runs = tables.jobs.c, tables.runs.c


def stop_beyond_limit(connection: Connection, job: Job) -> None:
    """Stops a locked job with more failed trials than its `max_failed`; one that is paused only once it is resumed."""
    limit = connection.execute(select(_jobs.max_failed).where(_jobs.id == job.id)).scalar_one()
    if limit is None or job.stage != "search" or job.cancel_requested or job.ended or job.state == PAUSED:
        return
    failed = connection.execute(_failed(job)).scalars().all()
    if len(failed) > limit:
        reason = failed[-1] or "no reason is known"
        jobs.stop(connection, job, f"{len(failed)} trials failed, max_failed is {limit}; the last failure: {reason}")


def _failed(job: Job) -> Any:
    of_search = (_runs.job_id == job.id, _runs.stage == "search", _runs.state == "failed")
    return select(_runs.error).where(*of_search).order_by(_runs.finished, _runs.ordinal)
