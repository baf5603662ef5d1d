"""What a job has found: the stored report of a completed one, or one built from its runs now."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from app import jobs, runs
from app.jobs import Job
from search import report, topologies
from search.points import Finished
from search.problem import problem_from
from search.spec import parse
from search.topologies import Output


class TrialNotFound(LookupError):
    """A trial that a job does not have, or that is not over. Names both."""


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


def topology_distance(db: Engine, job_id: str, a: int, b: int, output: Output) -> dict[str, Any]:
    """Between two trials, by Optuna's numbers. Raises: app.jobs.JobNotFound, TrialNotFound, topologies.NotKept."""
    jobs.get(db, job_id)
    outcomes = {each.number: each.outcome for each in runs.finished(runs.of_job(db, job_id), {}, "search")}
    for number in (a, b):
        if number not in outcomes:
            raise TrialNotFound(f"trial {number} of job {job_id} is not there, or not over yet")
    ended = {number: outcome for number, outcome in outcomes.items() if number is not None}
    return topologies.distance(ended, a, b, output)


def _head(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "created": _iso(job.created),
        "started": _iso(job.started),
        "finished": _iso(job.finished),
        "error": job.error,
        "earlier": [{**each, "finished": _iso(each["finished"])} for each in job.earlier],
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
