"""A state long in service: thousands of jobs that ended, some that run, every trial with its curves."""

import random
import uuid
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, insert, update

from app import database, jobs, reports, tables
from app.settings import Settings
from app.sleeper import sleeping
from models.seeds import derive
from models.training import EpochReport
from search.points import Assignment, Outcome
from search.problem import Problem, examine, problem_json
from search.spec import dump, parse

EPOCHS = 5
RUNNING = 40  # jobs still at work
LARGE = 4000  # trials of the largest job, which runs; half as many of the second, which is over
VARIANTS = 997  # points, which repeat
TOGETHER = 5000  # rows inserted at once
JOB = {
    "name": "digits",
    "data": {"kind": "bundled", "name": "digits"},
    "network": {"kind": "mlp", "widths": [300, 100]},
    "training": {"epochs": EPOCHS},
    "confirm": None,
}


def fill(settings: Settings, count: int, trials: int, chance: random.Random) -> dict[str, list[str]]:
    """Writes `count` jobs of `trials` trials in all; the ids of those `running`, `ended` and `large`."""
    database.upgrade(settings)
    db = database.engine(settings)
    sizes = _sizes(count, trials)
    made: dict[str, list[str]] = {"running": [], "ended": [], "large": []}
    problem = examine(parse(JOB), None)
    with db.begin() as connection:
        for number, size in enumerate(sizes):
            large, running = number in (count - 1, count - 2), number >= count - RUNNING and number != count - 2
            job_id = _job(connection, problem, number, size, running, chance)
            _runs(connection, job_id, problem, size)
            made["running" if running else "ended"].append(job_id)
            if large:
                made["large"].append(job_id)
    for job_id in made["ended"]:
        report = reports.build(jobs.get(db, job_id), reports.read(db, job_id))
        with db.begin() as connection:
            connection.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(report=report))
    db.dispose()
    return made


def _sizes(count: int, trials: int) -> list[int]:
    """Trials of each job; the two large ones are the newest."""
    large = min(LARGE, trials // 4)
    left, others = trials - large - large // 2, count - 2
    return [left // others + (number < left % others) for number in range(others)] + [large // 2, large]


def _job(connection: Connection, problem: Problem, number: int, size: int, running: bool, chance: random.Random) -> str:
    job_id = uuid.UUID(int=chance.getrandbits(128)).hex
    spec = parse(JOB | {"name": f"digits {number}", "seed": number, "search": {"trials": size}})
    created = 1.7e9 + number * 60
    connection.execute(
        insert(tables.jobs).values(
            id=job_id,
            name=spec.name,
            owner="local",
            state="running" if running else "completed",
            stage="search",
            spec=dump(spec),
            problem=problem_json(problem),
            priority=0,
            trials=size + 100 if running else size,
            next_ordinal=size,
            created=created,
            started=created + 1,
            finished=None if running else created + size,
            cancel_requested=False,
            study_name=f"{spec.name} {job_id[:8]}",
        )
    )
    return job_id


def _runs(connection: Connection, job_id: str, problem: Problem, size: int) -> None:
    rows, curves, told = [], [], []
    for ordinal in range(size):
        run_id = uuid.uuid4().hex
        assignment, outcome, epochs = _variant(problem, ordinal % VARIANTS)
        slot = {"job_id": job_id, "stage": "search", "ordinal": ordinal, "attempt": 1, "number": ordinal}
        rows.append(
            {
                **slot,
                "id": run_id,
                "state": "complete",
                "ending": "complete",
                "assignment": assignment | {"ordinal": ordinal, "trial": ordinal},
                "outcome": outcome,
                "worker_id": "host-1-abcdef",
                "host": "host",
                "started": 1.7e9 + ordinal,
                "finished": 1.7e9 + ordinal + 30.0,
            }
        )
        curves += [{"run_id": run_id, **epoch} for epoch in epochs]
        data = {"run": run_id, "stage": "search", "ordinal": ordinal, "attempt": 1, "trial": ordinal}
        told += [
            {"job_id": job_id, "at": 1.7e9 + ordinal, "type": type_, "data": data}
            for type_ in ("run.started", "run.finished")
        ]
    for table, given in ((tables.runs, rows), (tables.curves, curves), (tables.events, told)):
        _insert(connection, table, given)


@cache
def _variant(problem: Problem, number: int) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The JSON of a point, what came of it, and the columns of its epochs."""
    spec = parse(JOB)
    counts = tuple(layer.total * (number % 97 + 1) // 100 + number % 50 for layer in problem.layers)
    label = "start:erk" if number == 0 else "sampled"
    seed = derive(spec.seed, "trial", number)
    point = Assignment("search", number, seed, label, number, spec.network, spec.rewiring, counts)
    *epochs, outcome = sleeping(0.0)(dump(spec), point.to_json(), None, problem.data_hash, None).perform()
    assert isinstance(outcome, Outcome)
    return point.to_json(), outcome.to_json(), [_epoch(each) for each in epochs if isinstance(each, EpochReport)]


def _epoch(report: EpochReport) -> dict[str, Any]:
    data = vars(report) | {"nnz": list(report.nnz)}
    return {"epoch": report.epoch, "loss": report.loss, "weights": sum(report.nnz), "data": data}


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    for part in _parts(rows):
        connection.execute(insert(table), part)


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(rows)
    while part := list(islice(left, TOGETHER)):
        yield part
