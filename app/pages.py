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

from app import dataset_pages, events, jobs, login, pauses, reports, runs, standing, submission
from app.api.answers import State
from app.api.given import Config, Db, Known, Looking, Own, Submitter
from app.api.jobs import Text
from app.callers import Caller
from app.drawing import draw
from app.figures import chosen_trial, figures
from app.jobs import Job
from app.runs import RunRow
from app.standing import Standing
from search.problem import problem_from
from search.spec import parse
from search.steps import awaits_pruning

PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_PATH = f"/ui/plotly-{plotly.__version__}.min.js"
STATIC = Path(__file__).parent / "static"
PER_PAGE = 25
MOST_ROWS = 500  # trials in the table of a job's page; the report has them all

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    app.include_router(login.router)
    app.include_router(router)
    app.include_router(dataset_pages.router)
    app.mount("/ui/static", StaticFiles(directory=STATIC))


@router.get("/")
def root() -> Response:
    return RedirectResponse("/ui")


@router.get("/ui")
def jobs_page(
    db: Db,
    visitor: Looking,
    cursor: str | None = None,
    state: State | Literal[""] | None = None,
    q: Text = None,
) -> HTMLResponse:
    found, next_cursor = jobs.page(db, PER_PAGE, cursor, state or None, q or None, seen_by=visitor.caller)
    asked = {"q": q or "", "state": state or ""}
    return draw(
        "jobs.html",
        visitor,
        here="jobs",
        rows=[_row(job, stands) for job, stands in zip(found, standing.of(db, found), strict=True)],
        active=any(not job.ended for job in found),
        text=q,
        state=state,
        states=(*jobs.ACTIVE, jobs.PAUSED, *jobs.ENDED),
        older=_address(asked | {"cursor": next_cursor}) if next_cursor else None,
        newest=_address(asked) if cursor else None,
    )


@router.get("/ui/jobs/{job_id}")
def job_page(job: Known, db: Db, visitor: Looking) -> HTMLResponse:
    seen = events.newest(db)  # before anything else is read: what comes later is followed
    report = reports.current(db, job.id)
    open_runs = _open_runs(db, job)
    return draw(
        "job.html",
        visitor,
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
def cancel(job: Own, db: Db, caller: Submitter) -> Response:
    # It may have ended between the drawing of the button and the press; the page tells how.
    with contextlib.suppress(jobs.JobFinished):
        jobs.cancel(db, job.id, caller)
    return RedirectResponse(f"/ui/jobs/{job.id}", status_code=303)


@router.post("/ui/jobs/{job_id}/pause")
def pause(job: Own, db: Db, caller: Submitter) -> Response:
    with contextlib.suppress(jobs.JobFinished, pauses.NotPausable):
        pauses.pause(db, job.id, caller)
    return RedirectResponse(f"/ui/jobs/{job.id}", status_code=303)


@router.post("/ui/jobs/{job_id}/resume")
def resume(job: Own, db: Db, caller: Submitter) -> Response:
    with contextlib.suppress(jobs.JobFinished, pauses.NotPausable):
        pauses.resume(db, job.id, caller)
    return RedirectResponse(f"/ui/jobs/{job.id}", status_code=303)


@router.post("/ui/jobs/{job_id}/clone")
def clone(job: Known, config: Config, db: Db, caller: Submitter) -> Response:
    spec = submission.merged(job.spec, {})
    made, _ = submission.submit(db, config, spec, caller)
    return RedirectResponse(f"/ui/jobs/{made.id}", status_code=303)


@router.post("/ui/jobs/{job_id}/share")
def share(job: Own, db: Db, caller: Submitter) -> Response:
    return _shared(db, job, True, caller)


@router.post("/ui/jobs/{job_id}/unshare")
def unshare(job: Own, db: Db, caller: Submitter) -> Response:
    return _shared(db, job, False, caller)


@router.get(PLOTLY_PATH)
def plotly_script() -> Response:
    # Its name holds its version, so that it need never be asked for twice.
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return FileResponse(PLOTLY, media_type="text/javascript", headers=headers)


def _shared(db: Engine, job: Job, shared: bool, by: Caller) -> Response:
    jobs.share(db, job.id, shared, by)
    return RedirectResponse(f"/ui/jobs/{job.id}", status_code=303)


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
    shown = [_open_run(run, epochs.get(run.id, [])) for run in runs.of_job(db, job.id) if run.state in runs.LEASED]
    spec, problem = parse(job.spec), problem_from(job.problem)
    for run in shown:
        if run["label"] is None and awaits_pruning(spec, problem, run["ordinal"]):
            run["label"] = "gradual pruning, for the counts of a start"
    return shown


def _open_run(run: RunRow, curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    flows = [each["egf_1"] for each in curves if each["egf_1"] is not None]
    return {
        "stage": run.stage,
        "ordinal": run.ordinal,
        "trial": run.number,
        "label": run.assignment["label"] if run.assignment else None,
        "state": run.state,
        "attempt": run.attempt,
        "seconds": None if run.started is None else time.time() - run.started,
        "curves": curves,
        "egf_1": flows[-1] if flows else None,  # not every epoch measures it
    }
