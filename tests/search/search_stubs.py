"""Jobs, shapes and outcomes for tests that train nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import event

from models.networks.shapes import LayerShape
from search import study
from search.capacity import macs
from search.points import Assignment, Finished, Outcome
from search.problem import Problem
from search.spec import JobSpec, parse

LENET = (LayerShape("fc1", (300, 784)), LayerShape("fc2", (100, 300)), LayerShape("output", (10, 100)))
CNN = (
    LayerShape("conv1", (16, 1, 3, 3), 196),
    LayerShape("conv2", (32, 16, 3, 3), 49),
    LayerShape("conv3", (64, 32, 3, 3), 16),
    LayerShape("fc1", (128, 1024)),
    LayerShape("output", (10, 128)),
)
BUDGET = {"kind": "budget", "weights": 26_620}


def job(search: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """A job on LeNet-300-100 with a budget of a tenth, unless it says otherwise."""
    value = {
        "name": "a job",
        "data": {"kind": "bundled"},
        "network": {"kind": "lenet_300_100"},
        "search": {"space": BUDGET, "trials": 12} | (search or {}),
    }
    return parse(value | changes)


def problem(spec: JobSpec, input_shape: tuple[int, ...] = (784,), classes: int = 10) -> Problem:
    return Problem(input_shape, classes, 1000, "a hash", spec.network.layers(input_shape, classes))


def outcome(spec: JobSpec, assignment: Assignment, accuracy: float, loss: float | None = None) -> Outcome:
    layers = assignment.network.layers((784,), 10)
    return Outcome(
        loss=1 - accuracy if loss is None else loss,
        accuracy=accuracy,
        balanced_accuracy=accuracy,
        weights=sum(assignment.counts),
        macs=macs(layers, assignment.counts),
        nnz=assignment.counts,
        nnz_asked=assignment.counts,
        connections="a hash",
        storage=("masked",),
        egf_1=1.0,
        egf_2=0.5,
        seconds=1.0,
        epochs=spec.training.epochs,
    )


def complete(spec: JobSpec, assignment: Assignment, accuracy: float, loss: float | None = None) -> Finished:
    number = assignment.trial if assignment.stage == "search" else None
    return Finished(assignment, "complete", outcome(spec, assignment, accuracy, loss), number)


def searched(
    spec: JobSpec, points: Sequence[tuple[tuple[int, ...], float]], labels: Sequence[str] = ()
) -> list[Finished]:
    """Complete search trials with these counts and accuracies."""
    found = []
    for number, (counts, accuracy) in enumerate(points):
        label = labels[number] if number < len(labels) else "sampled"
        assignment = Assignment("search", number, number, label, number, spec.network, spec.rewiring, counts)
        found.append(complete(spec, assignment, accuracy))
    return found


def failed(finished: Finished) -> Finished:
    return replace(finished, state="failed", outcome=None, error="the loss is nan")


def database(path: Path) -> RDBStorage:
    """Optuna's storage with the engine of the service: WAL, and transactions that begin by locking."""
    storage = RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})

    @event.listens_for(storage.engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute("PRAGMA " + pragma)

    @event.listens_for(storage.engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    storage.engine.dispose()
    return storage


def ask_all(path: Path, ordinals: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """What a worker process does: Optuna's number and the counts of each ordinal."""
    storage, spec = database(path), job()
    try:
        asked = [study.ask(storage, "study", spec, problem(spec), ordinal) for ordinal in ordinals]
        return [(number, assignment.counts) for number, assignment in asked]
    finally:
        storage.engine.dispose()
