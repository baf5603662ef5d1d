"""/api/v1/jobs/{id}/...: what a job has found so far."""

from typing import Any

from fastapi import APIRouter

from app import reports
from app.api.answers import Distance, Rows
from app.api.given import Db, Known
from app.problems import documented
from search.topologies import Output

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"], responses=documented(404, 422))


@router.get("/report")
def report(job: Known, db: Db) -> dict[str, Any]:
    """Everything a job found: trials, Pareto front, confirmation, verdict; so far if it still runs."""
    return reports.current(db, job.id)


@router.get("/trials")
def trials(job: Known, db: Db) -> Rows:
    """One row per trial of the search, with its curves."""
    return Rows(items=reports.current(db, job.id)["trials"])


@router.get("/pareto")
def pareto(job: Known, db: Db) -> Rows:
    """The trials that no other trial beats in both accuracy and active weights."""
    return Rows(items=reports.current(db, job.id)["pareto"])


@router.get("/topology-distance", responses=documented(409))
def topology_distance(job: Known, db: Db, a: int, b: int, output: Output = "matched") -> Distance:
    """How far apart the connections of two trials are, whatever the order of hidden units (NNSTD)."""
    return Distance(**reports.topology_distance(db, job.id, a, b, output))
