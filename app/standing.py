"""How a job stands: runs per stage, the best trial so far, the time left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from app import counts, runs
from app.jobs import ACTIVE, STAGES, Job
from app.runs import RunRow
from app.usage import Usage
from search import objectives
from search.spec import Objective


@dataclass(frozen=True)
class Standing:
    """counts: per stage, as app.counts gives them; best: a complete run of the search; seconds_left: an estimate;
    used: by all attempts at runs that have ended or told of an epoch.
    """

    counts: Mapping[str, Mapping[str, int]]
    best: RunRow | None
    seconds_left: float | None
    used: Usage


def of(db: Engine, listed: Sequence[Job]) -> list[Standing]:
    """One per job, in their order; in a few queries, however many jobs and runs there are."""
    counted = counts.of(db, [job.id for job in listed])
    leading = _leading(db, listed)
    expecting = [job.id for job in listed if not job.ended and job.spec["confirm"] is not None]
    starts = runs.count_starts(db, expecting) if expecting else {}
    return [_standing(job, counted[job.id], leading.get(job.id), starts.get(job.id, 0)) for job in listed]


def _standing(job: Job, counted: Mapping[str, Any], best: RunRow | None, starts: int) -> Standing:
    return Standing(
        counts={stage: counted[stage] for stage in STAGES},
        best=best,
        seconds_left=_seconds_left(job.spec, counted, starts) if job.state in ACTIVE else None,
        used=counted["used"],
    )


def _leading(db: Engine, listed: Sequence[Job]) -> dict[str, RunRow]:
    alike: dict[Objective, list[str]] = {}
    for job in listed:
        alike.setdefault(objectives.ranking(job.spec["search"]["objectives"]), []).append(job.id)
    found: dict[str, RunRow] = {}
    for name, job_ids in alike.items():
        found |= runs.best(db, job_ids, name, 1 if objectives.DIRECTIONS[name] == "minimize" else -1)
    return found


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
