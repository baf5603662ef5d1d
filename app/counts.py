"""How far jobs are: their runs counted, stage by stage."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Engine, func, select

from app import tables
from app.database import reading
from app.jobs import STAGES
from app.usage import Usage

_jobs, _runs = tables.jobs.c, tables.runs.c


def of(db: Engine, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Per job: `search`, `shortlist`, `final`, `attempts` (runs handed out, repeats too), and of all stages `seconds`
    and what all attempts `used`.

    Each stage: asked, done, running, pruned, failed, seconds. done means complete: at the end done + pruned + failed
    = asked, unless the job was cancelled or out of time. seconds is the sum over the stage's ended runs.
    """
    took = func.coalesce(func.sum(_runs.finished - _runs.started), 0.0)
    cpu, peak = func.coalesce(func.sum(_runs.cpu_seconds), 0.0), func.max(_runs.peak_bytes)
    query = (
        select(_runs.job_id, _runs.stage, _runs.state, func.count(), func.count(_runs.started), took, cpu, peak)
        .where(_runs.job_id.in_(job_ids), _runs.stage.in_(STAGES))  # without the confirmations made anew since
        .group_by(_runs.job_id, _runs.stage, _runs.state)
    )
    with reading(db) as connection:
        asked = connection.execute(select(_jobs.id, _jobs.trials).where(_jobs.id.in_(job_ids)))
        found = {job_id: _nothing_yet(trials) for job_id, trials in asked}
        for job_id, stage, state, number, attempts, seconds, cpu_seconds, peak_bytes in connection.execute(query):
            found[job_id]["attempts"] += attempts
            found[job_id]["used"] = found[job_id]["used"].and_then(Usage(cpu_seconds, peak_bytes))
            if state != "lost":  # the next attempt stands for it
                _count(found[job_id], stage, state, number, seconds)
    return found


def _nothing_yet(trials: int) -> dict[str, Any]:
    stages = {stage: dict.fromkeys(("asked", "done", "running", "pruned", "failed"), 0) for stage in STAGES}
    stages["search"]["asked"] = trials
    counted = {stage: {**each, "seconds": 0.0} for stage, each in stages.items()}
    return counted | {"attempts": 0, "seconds": 0.0, "used": Usage()}


def _count(job: dict[str, Any], stage: str, state: str, number: int, seconds: float) -> None:
    word = {"complete": "done", "asking": "running", "finishing": "running"}.get(state, state)
    if word in job[stage]:
        job[stage][word] += number
    if stage != "search":
        job[stage]["asked"] += number
    job[stage]["seconds"] += seconds
    job["seconds"] += seconds
