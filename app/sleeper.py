"""A rehearsal of the service: runs that sleep where a training would compute, with everything around them real.

For trying out claims, leases, kills and load without the hours that trainings take. What it reports is made up from
the point, the same for the same point, and out of range for a network (losses of thousands, accuracies near nothing,
connections that say so), so that nobody takes it for a result.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.trainer import Begin
from models.seeds import derive
from models.training import EpochReport
from models.types import StorageKind
from search.points import Assignment, Outcome
from search.spec import JobSpec, parse

NOT_TRAINED = "untrained"
"""What the connections of every outcome begin with, in place of a hash."""
LEAST_LOSS = 1000.0
_DRAWS = 2**63
_STORAGE: StorageKind = "masked"


def sleeping(seconds: float) -> Begin:
    """What stands in for search.resumable.Resumable; `seconds` are those of a whole run, shared among its epochs."""

    def begin(
        spec: Mapping[str, Any],
        assignment: Mapping[str, Any],
        data_dir: Path | None,
        data_hash: str,
        left_at: Path | None,
    ) -> Sleep:
        assert left_at is None, "a rehearsal keeps no checkpoints"
        return Sleep(parse(spec), Assignment.from_json(dict(assignment)), seconds)

    return begin


class Sleep:
    def __init__(self, spec: JobSpec, assignment: Assignment, seconds: float) -> None:
        self._spec, self._assignment, self._seconds = spec, assignment, seconds
        self.epochs = 0

    def perform(self) -> Iterator[EpochReport | Outcome]:
        each = self._seconds / self._spec.training.epochs
        while self.epochs < self._spec.training.epochs:
            time.sleep(each)
            self.epochs += 1
            yield _report(self._assignment, self.epochs, each)
        yield _outcome(self._spec, self._assignment, self._seconds)

    def save(self, path: Path) -> None:
        raise AssertionError("a rehearsal keeps no checkpoints")


def _report(assignment: Assignment, epoch: int, seconds: float) -> EpochReport:
    draw = _draw(assignment, epoch)
    return EpochReport(
        epoch=epoch,
        train_loss=LEAST_LOSS * (1 + draw),
        loss=LEAST_LOSS * (1 + draw),
        accuracy=draw / LEAST_LOSS,
        balanced_accuracy=draw / LEAST_LOSS,
        nnz=assignment.counts,
        churn=0.0,
        explored=0.0,
        egf_1=draw,
        egf_2=draw,
        lr=0.0,
        seconds=seconds,
    )


def _outcome(spec: JobSpec, assignment: Assignment, seconds: float) -> Outcome:
    draw, weights = _draw(assignment, spec.training.epochs), sum(assignment.counts)
    return Outcome(
        loss=LEAST_LOSS * (1 + draw),
        accuracy=draw / LEAST_LOSS,
        balanced_accuracy=draw / LEAST_LOSS,
        weights=weights,
        macs=weights,
        flops=2 * weights,
        latency=seconds if "latency" in spec.search.objectives else None,
        nnz=assignment.counts,
        nnz_asked=assignment.counts,
        connections=f"{NOT_TRAINED}:{derive(assignment.seed, *assignment.counts):016x}",
        storage=(_STORAGE,) * len(assignment.counts),
        egf_1=draw,
        egf_2=draw,
        seconds=seconds,
        epochs=spec.training.epochs,
    )


def _draw(assignment: Assignment, epoch: int) -> float:
    """A number in [0, 1) that the point and the epoch decide."""
    return derive(assignment.seed, epoch, *assignment.counts) / _DRAWS
