"""A training that can be left after any epoch and gone on with later, elsewhere, bit for bit."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models import checkpoint, retraining_checkpoint
from models.checkpoint import CheckpointError as CheckpointError
from models.retraining import Retrained
from models.rewiring import Static
from models.training import EpochReport, Run
from search import trials
from search.points import Assignment, Outcome
from search.spec import JobSpec, parse


class Resumable:
    """As `trials.perform`, and what it has come to can be saved between two reports."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        assignment: Mapping[str, Any],
        data_dir: Path | None,
        data_hash: str,
        left_at: Path | None,
    ) -> None:
        """spec and assignment: as JSON. left_at: the checkpoint to go on from; None begins.

        Raises: as `trials.perform`; CheckpointError
        """
        self._spec, self._assignment = parse(spec), Assignment.from_json(dict(assignment))
        self._owner = owner(spec, assignment, data_hash)
        self._samples = trials.split(self._spec, self._assignment, data_dir, data_hash)
        self._run: Run | Retrained
        if left_at is None:
            self._run = trials.start(self._spec, self._assignment, self._samples, data_dir)
        else:
            self._run = self._load(left_at)

    @property
    def epochs(self) -> int:
        """Done so far."""
        return len(self._run.reports)

    def perform(self) -> Iterator[EpochReport | Outcome]:
        """The reports of the epochs that are left, then the outcome. Raises: as `trials.perform`"""
        yield from self._run.train()
        yield trials.outcome(self._spec, self._assignment, self._samples, self._run)

    def save(self, path: Path) -> None:
        """Whole or not at all. Raises: OSError"""
        if isinstance(self._run, Retrained):
            retraining_checkpoint.save(self._run, path, self._owner)
        else:
            checkpoint.save(self._run, path, owner=self._owner)

    def _load(self, path: Path) -> Run | Retrained:
        try:
            if _is_retraining(self._spec, self._assignment):
                return retraining_checkpoint.load(path, self._samples, self._owner)
            return checkpoint.load(path, self._samples, self._owner)
        except FileNotFoundError:
            raise CheckpointError(path, "it has gone") from None


def owner(spec: Mapping[str, Any], assignment: Mapping[str, Any], data_hash: str) -> str:
    """Names a training by all that decides it: a checkpoint of any other is foreign."""
    decides = json.dumps([spec, assignment, data_hash], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()


def reports(
    path: Path, spec: Mapping[str, Any], assignment: Mapping[str, Any], data_hash: str
) -> tuple[dict[str, Any], ...]:
    """Of the epochs that a checkpoint has behind it, as JSON, its whole content checked.

    Raises: FileNotFoundError; CheckpointError, if it is damaged or of another training
    """
    read = checkpoint.reports
    if _is_retraining(parse(spec), Assignment.from_json(dict(assignment))):
        read = retraining_checkpoint.reports
    return tuple(plain(report) for report in read(path, owner(spec, assignment, data_hash)))


def plain(report: EpochReport) -> dict[str, Any]:
    """As JSON."""
    return asdict(report) | {"nnz": list(report.nnz)}


def _is_retraining(spec: JobSpec, assignment: Assignment) -> bool:
    return spec.retraining is not None and not isinstance(assignment.rewiring, Static)
