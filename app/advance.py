"""A job moves on when a stage has no open run left: search -> shortlist -> final -> completed.

Whoever closes the last run does it, or the reaper where that one died. What the next stage is made of follows from the
stored runs alone, so it is worked out before the transaction; inside, the stage of the job's row lets one of several
through, and the unique slots of `runs` are the second guard.

A run of the confirmation that failed costs its seed, not the job: the job goes on while a candidate of the shortlist,
and the searched network in the final, keep two seeds to tell their spread by.
"""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, and_, exists, insert, or_, select, update

from app import events, jobs, reports, tables
from app.database import clock, now, reading
from app.jobs import ACTIVE, Job
from app.runs import OPEN
from search import confirm
from search.points import Assignment, Finished
from search.problem import problem_from
from search.spec import JobSpec, parse

LEAST_SEEDS = 2
_jobs, _runs = tables.jobs.c, tables.runs.c


def advance(db: Engine, job_id: str) -> None:
    """Moves the job on as far as its runs allow; changes nothing where runs are open or slots are left."""
    # The job first, then whether it is stalled: read the other way round, a job that another has just moved on would be
    # taken for one whose new stage has come to nothing.
    job = jobs.get(db, job_id)
    with reading(db) as connection:
        stalled = connection.execute(_stalled(now(db)).where(_jobs.id == job_id)).first() is not None
    if not stalled or job.state not in ACTIVE:
        return
    if job.cancel_requested:
        _end(db, job, "failed" if job.error else "cancelled", job.error)
        return
    ended = reports.read(db, job_id)
    try:
        _move(db, job, parse(job.spec), ended)
    except (ArithmeticError, LookupError, ValueError) as error:
        # A job that no next stage can be made for must not end the worker that serves all the others.
        _end(db, job, "failed", f"the {job.stage} stage could not be concluded: {error}")


def stalled(db: Engine) -> list[str]:
    """The jobs that nobody moved on though nothing of their stage is open."""
    with reading(db) as connection:
        return list(connection.execute(_stalled(now(db))).scalars())


def _stalled(at: float) -> Any:
    is_open = exists().where(_runs.job_id == _jobs.id, _runs.state.in_(OPEN)).correlate(tables.jobs)
    all_taken = or_(_jobs.stage != "search", _jobs.next_ordinal >= _jobs.trials, _jobs.deadline <= at)
    return select(_jobs.id).where(
        _jobs.state.in_(ACTIVE), ~is_open, or_(all_taken, and_(_jobs.cancel_requested, _jobs.state != "queued"))
    )


def _move(db: Engine, job: Job, spec: JobSpec, ended: dict[str, list[Finished]]) -> None:
    problem = problem_from(job.problem)
    reason = _hopeless(job.stage, ended[job.stage])
    if reason is not None:
        _end(db, job, "failed", reason)
    elif job.stage == "search" and spec.confirm is not None:
        _begin(db, job, "shortlist", confirm.shortlist(spec, problem, ended["search"]))
    elif job.stage == "shortlist":
        _begin(db, job, "final", confirm.finals(spec, problem, ended["search"], ended["shortlist"]))
    else:
        _complete(db, job, ended)


def _hopeless(stage: str, ended: Sequence[Finished]) -> str | None:
    complete = [run for run in ended if run.state == "complete"]
    last = next((run.error for run in reversed(ended) if run.error), "no reason is known")
    if stage == "search":
        return None if complete else f"none of the {len(ended)} trials was completed; the last failure: {last}"
    seeds = Counter(run.assignment.label for run in complete)
    enough = seeds["snas"] if stage == "final" else max(seeds.values(), default=0)
    if enough >= LEAST_SEEDS:
        return None
    return f"too few runs of the {stage} stage were completed to compare anything; the last failure: {last}"


def _begin(db: Engine, job: Job, stage: str, assignments: Sequence[Assignment]) -> None:
    if not assignments:
        raise ValueError(f"there is nothing to run in the {stage} stage")
    with db.begin() as connection:
        if not _leave(connection, job, state="confirming", stage=stage):
            return
        connection.execute(insert(tables.runs), [_waiting(job, assignment) for assignment in assignments])
        events.add(connection, job.id, "job.confirming", {"stage": stage, "runs": len(assignments)})


def _waiting(job: Job, assignment: Assignment) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "job_id": job.id,
        "stage": assignment.stage,
        "ordinal": assignment.ordinal,
        "attempt": 1,
        "state": "waiting",
        "assignment": assignment.to_json(),
    }


def _complete(db: Engine, job: Job, ended: dict[str, list[Finished]]) -> None:
    at = now(db)
    built = reports.build(replace(job, state="completed", finished=at), ended)
    with db.begin() as connection:
        if _leave(connection, job, state="completed", finished=at, report=built):
            events.add(connection, job.id, "job.completed", {"verdict": built["verdict"]})


def _end(db: Engine, job: Job, state: Any, error: str | None = None) -> None:
    with db.begin() as connection:
        if _leave(connection, job, state=state, finished=clock(connection), error=error):
            events.add(connection, job.id, "job.failed" if error else "job.cancelled", {"error": error})


def _leave(connection: Connection, job: Job, **values: Any) -> bool:
    """The job leaves the stage it was read in; False where it has left it already, or was meanwhile paused, cancelled
    or asked for more trials.
    """
    left = connection.execute(
        update(tables.jobs)
        .where(_jobs.id == job.id, _jobs.state == job.state, _jobs.stage == job.stage)
        .where(_jobs.cancel_requested == job.cancel_requested, _jobs.trials == job.trials)
        .values(**values)
    )
    return left.rowcount == 1
