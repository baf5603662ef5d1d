"""What its owner may change of a job that is on its way or completed: its priority, its limit, more trials."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine, update

from app import audit, events, jobs, queueing, quotas, tables
from app.callers import LOCAL, Caller
from app.database import clock
from app.jobs import Job
from app.quotas import UNLIMITED, Quotas
from models.data import Upload
from models.types import setting
from search.faults import InvalidSpec, faults
from search.further import further
from search.problem import problem_from
from search.spec import JobSpec, Search, dump, parse

_jobs, _runs = tables.jobs.c, tables.runs.c


class NotNow(ValueError):
    """The job is in a state in which this cannot be changed. Names both."""


@setting
class Revision:
    """Only the fields that are given change. trials: in all, not fewer than now; max_parallel: null for no limit."""

    priority: Annotated[int, Interval(ge=-1000, le=1000)] = 0
    max_parallel: Annotated[int, Interval(ge=1, le=10_000)] | None = None
    trials: Annotated[int, Interval(ge=1, le=10_000)] = 1


_ADAPTER: TypeAdapter[Revision] = TypeAdapter(Revision)


def parsed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a JSON object changes. Raises: InvalidSpec."""
    try:
        asked = _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise InvalidSpec(faults(error, value, Revision)) from None
    return {name: getattr(asked, name) for name in value}


def json_schema() -> dict[str, Any]:
    schema = _ADAPTER.json_schema()
    for field in schema["properties"].values():
        del field["default"]  # what is left out stays as it is
    return schema


def revise(db: Engine, job_id: str, changes: Mapping[str, Any], by: Caller = LOCAL, allowed: Quotas = UNLIMITED) -> Job:
    """Changes these fields of a job. More trials of a completed one take it back into its search.

    Its confirmation is then made anew, with all trials. The runs of the earlier one stay as rows, under the stages
    `shortlist:1` and `final:1` (2, 3, ... the next times), and its verdict stays in `earlier`.

    Raises: app.jobs.JobNotFound, app.jobs.JobFinished, NotNow, InvalidSpec, QuotaExceeded,
    app.queueing.DatasetGone; then nothing is changed.
    """
    owner = jobs.get(db, job_id).owner
    with db.begin() as connection:
        quotas.hold(connection, owner, allowed)
        job = _changeable(connection, job_id, changes)
        spec = parse(job.spec)
        asked = _revised(spec, job, changes)
        if asked != spec:
            more = asked.search.trials if job.ended else asked.search.trials - job.trials
            quotas.check(connection, job.owner, allowed, jobs=int(job.ended), trials=more)
            values = {"spec": dump(asked), "priority": asked.priority, "max_parallel": asked.search.max_parallel}
            values["trials"] = asked.search.trials
            connection.execute(update(tables.jobs).where(_jobs.id == job_id).values(**values))
            if job.state == "completed":
                if isinstance(spec.data, Upload):
                    queueing.hold_data(connection, spec.data)
                _reopen(connection, job)
            audit.add(connection, by, "job.changed", job_id, changes)
            events.add(connection, job_id, "job.changed", changes)
            if job.state == "completed":
                events.add(connection, job_id, "job.running", {"trials": asked.search.trials})
    return jobs.get(db, job_id)


def _changeable(connection: Connection, job_id: str, changes: Mapping[str, Any]) -> Job:
    job = jobs.lock(connection, job_id)
    if job.ended and not (job.state == "completed" and "trials" in changes):
        return jobs.open_job(connection, job_id)  # raises
    if job.cancel_requested:
        raise NotNow("the job is being stopped: nothing of it can be changed")
    if job.stage != "search" and not job.ended and changes.get("trials", job.trials) != job.trials:
        raise NotNow("the job is being confirmed: more trials can be asked of it once it is completed")
    return job


def _revised(spec: JobSpec, job: Job, changes: Mapping[str, Any]) -> JobSpec:
    if "trials" in changes:
        spec = further(spec, problem_from(job.problem), changes["trials"])
    search: Search = spec.search
    if "max_parallel" in changes:
        search = replace(search, max_parallel=changes["max_parallel"])
    return replace(spec, search=search, priority=changes.get("priority", spec.priority))


def _reopen(connection: Connection, job: Job) -> None:
    assert job.report is not None, "a completed job has a report"
    before = {"trials": job.trials, "finished": job.finished, "verdict": job.report["verdict"]}
    number = len(job.earlier) + 1
    confirmation = (_runs.job_id == job.id, _runs.stage.in_(("shortlist", "final")))
    connection.execute(update(tables.runs).where(*confirmation).values(stage=_runs.stage + f":{number}"))
    at = clock(connection)
    on_its_way = {"state": "running", "stage": "search", "finished": None, "report": None}
    values = {**on_its_way, "deadline": at + _jobs.max_seconds, "earlier": [*job.earlier, before]}
    connection.execute(update(tables.jobs).where(_jobs.id == job.id).values(**values))
