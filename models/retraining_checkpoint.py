"""Trainings one after the other in one file, from which they go on bit for bit: the one in progress, and the rest."""

from dataclasses import asdict, replace
from pathlib import Path

from models import checkpoint
from models.data.samples import Split
from models.retraining import Course, Retrained
from models.settings import from_plain, to_plain
from models.training import EpochReport


def save(retrained: Retrained, path: Path | str, owner: str = "") -> None:
    """Writes it as it is between two epochs, as `checkpoint.save` does."""
    description = {
        "course": to_plain(retrained.course),
        "number": retrained.number,
        "reports": [asdict(report) for report in retrained.reports],
    }
    checkpoint.save(retrained.run, path, checkpoint.Beside(description, retrained.initial), owner)


def load(path: Path | str, split: Split, owner: str = "") -> Retrained:
    """What was saved, on the data it was trained on. Raises: as `checkpoint.load`"""
    run, beside = checkpoint.load(path, split, owner), checkpoint.beside(path, owner)
    course: Course = from_plain(Course, beside.description["course"])
    course = replace(course, rounds=tuple(tuple(counts) for counts in course.rounds))
    retrained = Retrained(course, beside.tensors, run)
    retrained.number = beside.description["number"]
    retrained.reports = [from_plain(EpochReport, report) for report in beside.description["reports"]]
    return retrained


def reports(path: Path | str, owner: str = "") -> list[EpochReport]:
    """Of the epochs of all trainings so far. Raises: as `checkpoint.reports`"""
    description = checkpoint.beside(path, owner).description
    return [from_plain(EpochReport, report) for report in description["reports"]]
