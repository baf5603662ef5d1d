"""/ui: the pages. Drawn on the server from what the API reads; scripts only add plots and keep them fresh."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import plotly
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine

from app import dataset_pages, events, jobs, reports, runs, standing
from app.api.answers import State
from app.api.given import Db, Known, Own
from app.api.jobs import Text
from app.drawing import draw
from app.figures import chosen_trial, figures
from app.jobs import Job
from app.runs import RunRow
from app.standing import Standing
from search.problem import problem_from

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_PATH = f"/ui/plotly-{plotly.__version__}.min.js"
STATIC = Path(__file__).parent / "static"
PER_PAGE = 25
MOST_ROWS = 500  # trials in the table of a job's page; the report has them all

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.include_router(dataset_pages.router)
    app.mount("/ui/static", StaticFiles(directory=STATIC))


@router.get("/")
def root() -> Response:
    return RedirectResponse("/ui")


@router.get("/ui")
def jobs_page(
    db: Db,
    cursor: str | None = None,
    state: State | Literal[""] | None = None,
    q: Text = None,
) -> HTMLResponse:
    found, next_cursor = jobs.page(db, PER_PAGE, cursor, state or None, q or None)
    asked = {"q": q or "", "state": state or ""}
    return draw(
        "jobs.html",
        here="jobs",
        rows=[_row(job, stands) for job, stands in zip(found, standing.of(db, found), strict=True)],
        active=any(not job.ended for job in found),
        text=q,
        state=state,
        states=(*jobs.ACTIVE, *jobs.ENDED),
        older=_address(asked | {"cursor": next_cursor}) if next_cursor else None,
        newest=_address(asked) if cursor else None,
    )


@router.get("/ui/jobs/{job_id}")
def job_page(job: Known, db: Db) -> HTMLResponse:
    seen = events.newest(db)  # before anything else is read: what comes later is followed
    report = reports.current(db, job.id)
    open_runs = _open_runs(db, job)
    return draw(
        "job.html",
        styles_in_place=True,  # Plotly sets its own
        here="job",
        job=job,
        seen=seen,
        stands=standing.of(db, [job])[0],
        report=report,
        open_runs=open_runs,
        figures=figures(report, [run for run in open_runs if run["stage"] == "search"]),
        chosen=chosen_trial(report),
        dense_weights=_dense_weights(job),
        seconds=_seconds(job),
        most_rows=MOST_ROWS,
        plotly=PLOTLY_PATH,
    )


@router.post("/ui/jobs/{job_id}/cancel")
def cancel(job: Own, db: Db) -> Response:
    # It may have ended between the drawing of the button and the press; the page tells how.
    with contextlib.suppress(jobs.JobFinished):
        jobs.cancel(db, job.id)
    return RedirectResponse(f"/ui/jobs/{job.id}", status_code=303)


@router.get(PLOTLY_PATH)
def plotly_script() -> Response:
    # Its name holds its version, so that it need never be asked for twice.
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(PLOTLY, media_type="text/javascript", headers=headers)


def _row(job: Job, stands: Standing) -> dict[str, Any]:
    stage = "search" if job.ended else job.stage
    counts = stands.counts[stage]
    return {
        "job": job,
        "best": stands.best and stands.best.outcome,
        "asked": max(1, counts["asked"]),
        "ended": counts["done"] + counts["pruned"] + counts["failed"],
        "what": {"search": "trials", "shortlist": "shortlist runs", "final": "final runs"}[stage],
        "seconds": _seconds(job),
    }


def _address(asked: Mapping[str, str | None]) -> str:
    given = {name: value for name, value in asked.items() if value}
    return f"/ui?{urlencode(given)}" if given else "/ui"


def _seconds(job: Job) -> float | None:
    return None if job.started is None else (job.finished or time.time()) - job.started


def _dense_weights(job: Job) -> int:
    return sum(layer.total for layer in problem_from(job.problem).layers)


def _open_runs(db: Engine, job: Job) -> list[dict[str, Any]]:
    if job.ended:
        return []
    epochs = runs.curves(db, job.id)
    return [_open_run(run, epochs.get(run.id, [])) for run in runs.of_job(db, job.id) if run.state in runs.LEASED]


def _open_run(run: RunRow, curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    flows = [each["egf_1"] for each in curves if each["egf_1"] is not None]
    return {
        "stage": run.stage,
        "trial": run.number,
        "label": run.assignment["label"] if run.assignment else None,
        "state": run.state,
        "attempt": run.attempt,
        "seconds": None if run.started is None else time.time() - run.started,
        "curves": curves,
        "egf_1": flows[-1] if flows else None,  # not every epoch measures it
    }
