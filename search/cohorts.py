"""Several points trained in lockstep on one device, each as if alone. The way to use a GPU; never part of a result."""

import json
import os
from collections.abc import Collection, Generator, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from models.cohorts import Cohort
from models.data.samples import Split
from models.recipe import Training
from models.retraining import Retrained
from models.training import EpochReport, Run
from search import trials
from search.points import Assignment, Outcome
from search.spec import JobSpec, dump

ON_CUDA = 32  # points at once: fills a large GPU with networks of a few hundred units, and fits any

Ended = Outcome | Exception
"""What a point came to: its outcome, or what its training raised."""

Whole = Mapping[int, Run | Retrained]
"""Trainings by the number of their point."""


def size(asked: int | None) -> int:
    """How many points a worker of this machine trains at once; by default 1 where there is no CUDA device."""
    if asked is not None:
        return asked
    # Asked of the driver's own library: CUDA itself, once begun, would be broken in the processes forked from this one.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    return ON_CUDA if torch.cuda.is_available() else 1


def kind(spec: JobSpec, assignment: Assignment) -> Hashable:
    """Points of one kind can be trained together."""
    final = assignment.stage == "final"
    # The whole job: what a trial is, and what is measured of it, may follow from any part of it.
    return (
        json.dumps(dump(replace(spec, name="-", priority=0))),
        trials.topology(spec, assignment),
        trials.recipe(spec, assignment),
        assignment.network,
        assignment.rewiring,
        final,
    )


def perform(
    spec: JobSpec, assignments: Sequence[Assignment], data_dir: Path | None, data_hash: str | None = None
) -> Generator[Mapping[int, EpochReport | Ended], Collection[int], None]:
    """Trains points of one kind. Yields, by number, what an epoch gave of each still there; sent are those to stop.

    A point that ends, by its outcome or by what it raised, is yielded a last time and has left.

    Raises: models.data.samples.DataError; search.remembered.DataChanged
    """
    device = _device(trials.recipe(spec, assignments[0]))
    split = _there(trials.split(spec, assignments[0], data_dir, data_hash), device)
    found: dict[int, EpochReport | Ended] = {}
    started: dict[int, Run | Retrained] = {}
    for number, assignment in enumerate(assignments):
        try:
            started[number] = trials.start(spec, assignment, split, data_dir)
        # Told to its owner in its own words; the others must not suffer for it.
        except Exception as error:  # noqa: BLE001
            found[number] = error
    if found:
        yield found
    runs = {run: number for number, run in started.items() if isinstance(run, Run)}
    whole = yield from _in_lockstep(runs) if len(runs) == len(started) else _in_turn(started)
    for number, run in whole.items():
        try:
            ended: Ended = trials.outcome(spec, assignments[number], split, run)
        # As above: a measure that fails is the end of its own point.
        except Exception as error:  # noqa: BLE001
            ended = error
        yield {number: ended}


def _in_lockstep(runs: Mapping[Run, int]) -> Generator[Mapping[int, EpochReport | Ended], Collection[int], Whole]:
    """As one program. Those that trained to the end are returned."""
    if not runs:
        return {}
    cohort = Cohort(list(runs))
    for ended in cohort.train():
        for number in (yield {runs[run]: what for run, what in ended.items()}) or ():
            cohort.leave(next(run for run, its_number in runs.items() if its_number == number))
    return {runs[run]: run for run in cohort.runs}


def _in_turn(started: Whole) -> Generator[Mapping[int, EpochReport | Ended], Collection[int], Whole]:
    """Epoch after epoch, each by itself: those that are several trainings, and need not have equally many."""
    epochs = {number: run.train() for number, run in started.items()}
    whole: dict[int, Run | Retrained] = {}
    while epochs:
        ended: dict[int, EpochReport | Ended] = {}
        for number, reports in list(epochs.items()):
            try:
                ended[number] = next(reports)
                continue
            except StopIteration:
                whole[number] = started[number]
            # As above.
            except Exception as error:  # noqa: BLE001
                ended[number] = error
            del epochs[number]
        if ended:
            for number in (yield ended) or ():
                del epochs[number]
    return whole


def _device(recipe: Training) -> torch.device:
    compressed = recipe.storage == "compressed"  # a form for CPUs
    return torch.device("cuda" if torch.cuda.is_available() and not compressed else "cpu")


@lru_cache(maxsize=1)
def _there(split: Split, device: torch.device) -> Split:
    return split.to(device)
