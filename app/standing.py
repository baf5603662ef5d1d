"""How a job stands: runs per stage, the best trial so far, the time left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from app import counts, runs
from app.jobs import ACTIVE, STAGES, Job
from app.runs import RunRow
from search import objectives
from search.points import Outcome
from search.spec import JobSpec, parse


@dataclass(frozen=True)
class Standing:
    """counts: per stage, as app.counts gives them; best: a complete run of the search; seconds_left: an estimate."""

    counts: Mapping[str, Mapping[str, int]]
    best: RunRow | None
    seconds_left: float | None


def of(db: Engine, listed: Sequence[Job]) -> list[Standing]:
    """One per job, in their order."""
    counted = counts.of(db, [job.id for job in listed])
    return [_standing(job, counted[job.id], runs.of_job(db, job.id, "search")) for job in listed]


def _standing(job: Job, counted: Mapping[str, Any], search: Sequence[RunRow]) -> Standing:
    return Standing(
        counts={stage: counted[stage] for stage in STAGES},
        best=_best(parse(job.spec), search),
        seconds_left=_seconds_left(job.spec, counted, _count_starts(search)) if job.state in ACTIVE else None,
    )


def _best(spec: JobSpec, search: Sequence[RunRow]) -> RunRow | None:
    name = objectives.ranked_by(spec)
    complete = [run for run in search if run.state == "complete"]
    return min(complete, key=lambda run: objectives.cost(name, Outcome.from_json(run.outcome or {})), default=None)


def _count_starts(search: Sequence[RunRow]) -> int:
    return sum(run.assignment is not None and run.assignment["label"].startswith("start:") for run in search)


def _seconds_left(spec: Mapping[str, Any], counts: Mapping[str, Any], starts: int) -> float | None:
    ended = sum(_ended(counts[stage]) for stage in STAGES)
    if not ended:
        return None
    expected = {"search": 0, **_expected(spec["confirm"], starts)}
    left = sum(max(counts[stage]["asked"] or expected[stage], _ended(counts[stage])) for stage in STAGES) - ended
    at_once = max(1, sum(counts[stage]["running"] for stage in STAGES))
    return float(left * counts["seconds"] / ended / at_once)


def _ended(stage: Mapping[str, int]) -> int:
    return stage["done"] + stage["pruned"] + stage["failed"]


def _expected(confirm: Mapping[str, Any] | None, starts: int) -> dict[str, int]:
    # Runs of the stages whose rows are made only when the search is over.
    if confirm is None:
        return {"shortlist": 0, "final": 0}
    return {
        "shortlist": (confirm["shortlist"] + starts) * confirm["shortlist_seeds"],
        "final": (1 + len(confirm["arms"])) * confirm["seeds"],
    }
