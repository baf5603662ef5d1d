"""What a job has found: the stored report of a completed one, or one built from its runs now."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from app import jobs, runs
from app.jobs import Job
from search import report
from search.points import Finished
from search.problem import problem_from
from search.spec import parse


def current(db: Engine, job_id: str) -> dict[str, Any]:
    """Raises: app.jobs.JobNotFound."""
    job = jobs.get(db, job_id)
    return job.report if job.report is not None else build(job, read(db, job_id))


def read(db: Engine, job_id: str) -> dict[str, list[Finished]]:
    """The ended runs of each stage, by slot."""
    rows, epochs = runs.of_job(db, job_id), runs.curves(db, job_id)
    return {stage: runs.finished(rows, epochs, stage) for stage in jobs.STAGES}


def build(job: Job, ended: Mapping[str, Sequence[Finished]]) -> dict[str, Any]:
    return report.build(
        _head(job), parse(job.spec), problem_from(job.problem), ended["search"], ended["shortlist"], ended["final"]
    )


def _head(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "created": _iso(job.created),
        "started": _iso(job.started),
        "finished": _iso(job.finished),
        "error": job.error,
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
