"""From a job as it is kept to the JSON that describes it."""

from collections.abc import Mapping, Sequence
from typing import cast

from sqlalchemy import Engine

from app import standing
from app.api.answers import BestTrial, JobAnswer, Links, Progress, Runs, Stage, State, Used, moment, moment_or_none
from app.jobs import Job
from app.runs import RunRow
from app.standing import Standing


def shaped(db: Engine, listed: Sequence[Job]) -> list[JobAnswer]:
    return [_answer(job, stands) for job, stands in zip(listed, standing.of(db, listed), strict=True)]


def links(job: Job) -> Links:
    api = f"/api/v1/jobs/{job.id}"
    study = job.optuna_study_id
    return Links(
        self=api,
        trials=f"{api}/trials",
        runs=f"{api}/runs",
        pareto=f"{api}/pareto",
        report=f"{api}/report",
        events=f"{api}/events",
        page=f"/ui/jobs/{job.id}",
        dashboard=None if study is None else f"/dashboard/studies/{study}",
    )


def _answer(job: Job, stands: Standing) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        name=job.name,
        owner=job.owner,
        shared=job.shared,
        state=cast(State, job.state),
        priority=job.priority,
        created=moment(job.created),
        started=moment_or_none(job.started),
        finished=moment_or_none(job.finished),
        error=job.error,
        spec=job.spec,
        progress=_progress(job, stands),
        used=Used(**vars(stands.used)),
        links=links(job),
    )


def _progress(job: Job, stands: Standing) -> Progress:
    return Progress(
        stage=cast(Stage, job.stage),
        trials=_runs(stands.counts["search"]),
        shortlist=_runs(stands.counts["shortlist"]),
        final=_runs(stands.counts["final"]),
        best=_best(stands.best),
        seconds_left=stands.seconds_left,
    )


def _runs(counts: Mapping[str, int]) -> Runs:
    return Runs(**{name: counts[name] for name in Runs.model_fields})


def _best(run: RunRow | None) -> BestTrial | None:
    if run is None or run.outcome is None:
        return None
    return BestTrial(trial=run.number, **{name: run.outcome[name] for name in ("loss", "accuracy", "weights")})
