"""What a new job may start from: the best networks of jobs that are there."""

from collections.abc import Sequence

from sqlalchemy import Engine

from app import jobs, runs
from app.callers import Caller
from app.figures import chosen_trial
from app.jobs import Job
from app.runs import RunRow
from search import objectives
from search.faults import fault
from search.points import Assignment, Outcome
from search.problem import problem_from
from search.spec import JobSpec, parse
from search.warm_start import Earlier


def networks(db: Engine, caller: Caller, spec: JobSpec) -> list[Earlier]:
    """Of each job that the new one names: the network that won its confirmation, else the best of its search.

    Raises: InvalidSpec for a job that is not there, is not the caller's to see, or has no complete trial.
    """
    return [_network(db, caller, number, job_id) for number, job_id in enumerate(spec.search.warm_start)]


def _network(db: Engine, caller: Caller, number: int, job_id: str) -> Earlier:
    field = f"search.warm_start.{number}"
    try:
        job = jobs.get(db, job_id)
    except jobs.JobNotFound:
        job = None
    if job is None or not caller.may_see(job):
        raise fault(field, job_id, f"{job_id!r} is not allowed; no job has this id")
    best = _best(job, runs.of_job(db, job_id, "search"))
    if best is None:
        raise fault(field, job_id, f"{job_id!r} is not allowed; the job has no complete trial to start from")
    counts = Assignment.from_json(best.assignment or {}).counts
    return Earlier(job.id, parse(job.spec), problem_from(job.problem), counts)


def _best(job: Job, search: Sequence[RunRow]) -> RunRow | None:
    chosen = None if job.report is None else chosen_trial(job.report)
    name = objectives.ranked_by(parse(job.spec))
    complete = [run for run in search if run.state == "complete"]
    won = [run for run in complete if run.number == chosen]
    return min(
        won or complete, key=lambda run: objectives.cost(name, Outcome.from_json(run.outcome or {})), default=None
    )
