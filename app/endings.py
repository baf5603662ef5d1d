"""How a run ends: its end is stored, Optuna is told, the run is closed. Each step may be repeated, none is undone.

No transaction spans two databases. A crash after the first step leaves a run `finishing` whose lease ends; whoever
sweeps tells Optuna again, which then changes nothing, and closes it. What was trained is never trained again.
"""

from dataclasses import replace
from typing import Literal

from optuna.storages import BaseStorage
from sqlalchemy import Engine, update

from app import events, failures, fences, jobs, tables
from app.advance import advance
from app.database import clock, now, reading
from app.runs import RunRow
from search import study
from search.points import Outcome
from search.spec import parse

_runs = tables.runs.c


def sweep(db: Engine, storage: BaseStorage, max_attempts: int) -> None:
    """Takes over every run whose lease has ended."""
    with reading(db) as connection:
        expired = connection.execute(fences.expired(now(db))).scalars().all()
    for run_id in expired:
        run = fences.expire(db, run_id, now(db), max_attempts)
        if run is not None:
            close(db, storage, run)


def close(db: Engine, storage: BaseStorage, run: RunRow) -> None:
    """Tells Optuna how a `finishing` run ended, closes it, and moves its job on where it was the last of a stage."""
    number = tell(db, storage, run) if run.stage == "search" else None
    with db.begin() as connection:
        closed = connection.execute(
            update(tables.runs)
            .where(_runs.id == run.id, _runs.state == "finishing")
            .values(state=_runs.ending, number=number, lease_until=None, finished=run.finished or clock(connection))
        )
        if closed.rowcount == 1:
            if run.ending == "failed":
                failures.stop_beyond_limit(connection, jobs.lock(connection, run.job_id))
            events.add(connection, run.job_id, "run.finished", _told(replace(run, number=number)))
    advance(db, run.job_id)


def tell(db: Engine, storage: BaseStorage, run: RunRow) -> int | None:
    """Tells Optuna how a trial ended, unless it knows; returns its number, None where there is no trial.

    A trial that was cancelled has failed. One that was cancelled before it was asked for is none.
    """
    job = jobs.get(db, run.job_id)
    number = run.number if run.number is not None else _find(db, storage, job, run)
    if number is None:
        return None
    state: Literal["complete", "pruned", "failed"]
    match run.ending:
        case "complete" | "pruned":
            state = run.ending
        case _:
            state = "failed"
    outcome = None if run.outcome is None else Outcome.from_json(run.outcome)
    study.tell(storage, job.study_name, parse(job.spec), number, state, outcome)
    return number


def _find(db: Engine, storage: BaseStorage, job: jobs.Job, run: RunRow) -> int | None:
    """The trial of a slot whose row has none: left by a crash between Optuna's trial and our row, or never made."""
    if run.ending == "failed":
        jobs.open_study(db, storage, job)
        return study.abandon(storage, job.study_name, run.ordinal)
    if job.optuna_study_id is None:
        return None
    known = {trial.ordinal: trial.number for trial in study.trials(storage, job.study_name)}
    return known.get(run.ordinal)


def _told(run: RunRow) -> dict[str, object]:
    measured = {key: (run.outcome or {}).get(key) for key in ("loss", "accuracy", "weights", "seconds")}
    return {
        "run": run.id,
        "stage": run.stage,
        "ordinal": run.ordinal,
        "attempt": run.attempt,
        "trial": run.number,
        "state": run.ending,
        "error": run.error,
        **measured,
    }
