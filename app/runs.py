"""Runs as they are read: one row per slot of a stage, its epochs, and what the search makes of them.

A run is one leased attempt at a slot. Its life: waiting -> asking (leased; Optuna is asked) -> running -> finishing
(its end is stored, Optuna is told) -> complete, pruned, failed or cancelled. `lost` is an attempt whose worker died: in
the same transaction the next attempt was made to wait, so exactly one row of a slot is not lost.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

from sqlalchemy import Engine, and_, func, select

from app import tables
from app.database import reading
from search.points import Assignment, EndedState, Finished, Outcome

LEASED = ("asking", "running", "finishing")
OPEN = ("waiting", *LEASED)
ENDED = ("complete", "pruned", "failed")  # the states that count; cancelled and lost are neither open nor counted
_runs, _curves = tables.runs.c, tables.curves.c


class RunNotFound(LookupError):
    """The job has no run with this id."""


@dataclass(frozen=True)
class RunRow:
    """One attempt at a slot. `number` is Optuna's, of the search; `assignment` and `outcome` are search's JSON;
    `cpu_seconds` and `peak_bytes` are known once a part of it has ended, of a killed one as far as it told.
    """

    id: str
    job_id: str
    stage: str
    ordinal: int
    attempt: int
    state: str
    ending: str | None
    number: int | None
    assignment: dict[str, Any] | None
    outcome: dict[str, Any] | None
    worker_id: str | None
    host: str | None
    lease_until: float | None
    started: float | None
    finished: float | None
    error: str | None
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


COLUMNS = tuple(_runs[field.name] for field in fields(RunRow))


def of_job(db: Engine, job_id: str, stage: str | None = None) -> list[RunRow]:
    """The latest attempt of each slot, by stage and ordinal."""
    query = select(*COLUMNS).where(_runs.job_id == job_id, _runs.state != "lost").order_by(_runs.stage, _runs.ordinal)
    if stage is not None:
        query = query.where(_runs.stage == stage)
    with reading(db) as connection:
        return [RunRow(**row) for row in connection.execute(query).mappings()]


def attempts(db: Engine, job_id: str) -> list[RunRow]:
    """Every one, lost ones too, by stage, slot and attempt."""
    query = select(*COLUMNS).where(_runs.job_id == job_id).order_by(_runs.stage, _runs.ordinal, _runs.attempt)
    with reading(db) as connection:
        return [RunRow(**row) for row in connection.execute(query).mappings()]


def get(db: Engine, job_id: str, run_id: str) -> RunRow:
    """Raises: RunNotFound."""
    query = select(*COLUMNS).where(_runs.job_id == job_id, _runs.id == run_id)
    with reading(db) as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise RunNotFound(f"job {job_id} has no run {run_id!r}")
    return RunRow(**row)


def best(db: Engine, job_ids: Collection[str], measure: str, sign: int) -> dict[str, RunRow]:
    """Per job: the complete trial whose outcome has the least `sign` times `measure`, of equal ones the first."""
    complete = and_(_runs.job_id.in_(job_ids), _runs.stage == "search", _runs.state == "complete")
    order = (sign * _runs.outcome[measure].as_float(), _runs.ordinal)
    place = func.row_number().over(partition_by=_runs.job_id, order_by=order).label("place")
    placed = select(_runs.id, place).where(complete).subquery()
    query = select(*COLUMNS).join(placed, placed.c.id == _runs.id).where(placed.c.place == 1)
    with reading(db) as connection:
        found = [RunRow(**row) for row in connection.execute(query).mappings()]
    return {run.job_id: run for run in found}


def count_starts(db: Engine, job_ids: Collection[str]) -> dict[str, int]:
    """Per job: its slots of the search whose point was set by a rule."""
    is_start = _runs.assignment["label"].as_string().startswith("start:")
    query = (
        select(_runs.job_id, func.count().label("starts"))
        .where(_runs.job_id.in_(job_ids), _runs.stage == "search", _runs.state != "lost", is_start)
        .group_by(_runs.job_id)
    )
    with reading(db) as connection:
        return {row.job_id: row.starts for row in connection.execute(query)}


def curves(db: Engine, job_id: str) -> dict[str, list[dict[str, Any]]]:
    """Per run that reported: its epochs in order."""
    query = (
        select(_curves.run_id, _curves.data)
        .join(tables.runs, _runs.id == _curves.run_id)
        .where(_runs.job_id == job_id, _runs.state != "lost")
        .order_by(_curves.run_id, _curves.epoch)
    )
    found: dict[str, list[dict[str, Any]]] = {}
    with reading(db) as connection:
        for run_id, data in connection.execute(query):
            found.setdefault(run_id, []).append(data)
    return found


def peers(db: Engine, job_id: str, run_id: str, epoch: int, by: str = "loss") -> list[tuple[int, float]]:
    """(active weights, the report's `by`) after `epoch` of every other trial of the search that got so far."""
    query = (
        select(_curves.weights, _curves.data)
        .join(tables.runs, _runs.id == _curves.run_id)
        .where(_runs.job_id == job_id, _runs.stage == "search", _runs.state != "lost", _runs.id != run_id)
        .where(_curves.epoch == epoch)
        .order_by(_runs.ordinal)
    )
    with reading(db) as connection:
        return [(weights, data[by]) for weights, data in connection.execute(query) if data[by] is not None]


def finished(rows: Sequence[RunRow], epochs: dict[str, list[dict[str, Any]]], stage: str) -> list[Finished]:
    """What `search` reads of a stage: its ended runs in the order of their slots."""
    return [
        Finished(
            assignment=Assignment.from_json(row.assignment),
            state=cast(EndedState, row.state),
            outcome=None if row.outcome is None else Outcome.from_json(row.outcome),
            number=row.number,
            curves=tuple(epochs.get(row.id, ())),
            error=row.error,
        )
        for row in rows
        if row.stage == stage and row.state in ENDED and row.assignment is not None
    ]
