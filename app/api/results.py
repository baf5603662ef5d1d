"""/api/v1/jobs/{id}/...: what a job has found so far."""

from typing import Any

from fastapi import APIRouter

from app import reports
from app.api.answers import Rows
from app.api.given import Db
from app.problems import documented

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"], responses=documented(404, 422))


@router.get("/report")
def report(job_id: str, db: Db) -> dict[str, Any]:
    """Everything a job found: trials, Pareto front, confirmation, verdict; so far if it still runs."""
    return reports.current(db, job_id)


@router.get("/trials")
def trials(job_id: str, db: Db) -> Rows:
    """One row per trial of the search, with its curves."""
    return Rows(items=reports.current(db, job_id)["trials"])


@router.get("/pareto")
def pareto(job_id: str, db: Db) -> Rows:
    """The trials that no other trial beats in both accuracy and active weights."""
    return Rows(items=reports.current(db, job_id)["pareto"])
