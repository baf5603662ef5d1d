"""/api/v1/jobs/{id}/runs: every attempt at a training of a job, what it cost and what it wrote."""

from typing import Annotated, cast

from fastapi import APIRouter, Path
from fastapi.responses import PlainTextResponse

from app import run_logs, runs
from app.api.answers import RunAnswer, RunList, RunState, moment_or_none
from app.api.given import Config, Db, Known
from app.problems import documented
from app.runs import RunRow

router = APIRouter(prefix="/jobs/{job_id}/runs", tags=["results"], responses=documented(404, 422))

RunId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("")
def page(job: Known, db: Db) -> RunList:
    """All stages, slot by slot; a slot whose worker died has an attempt more."""
    return RunList(items=[_answer(run) for run in runs.attempts(db, job.id)])


@router.get("/{run_id}/log", response_class=PlainTextResponse)
def log(job: Known, run_id: RunId, db: Db, config: Config) -> PlainTextResponse:
    """The end of what the training wrote to stderr: warnings, a traceback, the frames of a crash; mostly nothing.

    Kept when an attempt ends; while it is trained, it can be read where the server shares the worker's state directory.
    """
    return PlainTextResponse(run_logs.read(db, config.state_dir, runs.get(db, job.id, run_id)))


def _answer(run: RunRow) -> RunAnswer:
    return RunAnswer(
        id=run.id,
        stage=run.stage,
        ordinal=run.ordinal,
        attempt=run.attempt,
        trial=run.number,
        state=cast(RunState, run.state),
        host=run.host,
        started=moment_or_none(run.started),
        finished=moment_or_none(run.finished),
        error=run.error,
        cpu_seconds=run.cpu_seconds,
        peak_bytes=run.peak_bytes,
        log=f"/api/v1/jobs/{run.job_id}/runs/{run.id}/log",
    )
