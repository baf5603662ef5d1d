"""/api/v1/jobs: submit, list, get, and what its owner does to a job on its way."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response
from pydantic import WithJsonSchema

from app import jobs, pauses, revisions, submission
from app.api.answers import JobAnswer, JobPage, State
from app.api.given import Config, Db, Known, Own, Reader, Submitter
from app.api.shape import shaped
from app.jobs import Job
from app.problems import documented
from app.quotas import Quotas
from search.spec import JobSpec

router = APIRouter(prefix="/jobs", tags=["jobs"])

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="the same key and body make one job"),
]
Changes = Annotated[dict[str, Any], Body(), WithJsonSchema(revisions.json_schema())]
Merged = Annotated[
    dict[str, Any] | None,
    Body(description="fields of a job, in place of this one's; objects are merged unless their `kind` is another"),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Text = Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$", description="part of the name")]
Owner = Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$", description="only jobs of theirs")]


@router.post(
    "",
    status_code=201,
    response_model=JobAnswer,
    responses={
        200: {"model": JobAnswer, "description": "Submitted before with this key"},
        **documented(404, 408, 409, 413, 415, 422),
    },
)
def submit(
    spec: JobSpec, config: Config, db: Db, caller: Submitter, response: Response, idempotency_key: Key = None
) -> JobAnswer:
    """Queues a job. What only its data or shapes can show is refused here too, and nothing is created then."""
    job, created = submission.submit(db, config, spec, caller, idempotency_key)
    return _submitted(db, job, created, response)


@router.get("", responses=documented(422))
def page(
    db: Db,
    caller: Reader,
    limit: Limit = 20,
    cursor: str | None = None,
    state: State | None = None,
    q: Text = None,
    owner: Owner = None,
) -> JobPage:
    """Jobs, the newest first: one's own and shared ones, for an administrator all."""
    found, next_cursor = jobs.page(db, limit, cursor, state, q, owner, seen_by=caller)
    return JobPage(items=shaped(db, found), next_cursor=next_cursor)


@router.get("/{job_id}", responses=documented(404, 422))
def get(job: Known, db: Db) -> JobAnswer:
    """A job, how far it is, and the best it found so far."""
    return shaped(db, [job])[0]


@router.post("/{job_id}/cancel", status_code=202, responses=documented(404, 409, 422))
def cancel(job: Own, db: Db, caller: Submitter) -> JobAnswer:
    """Stops a job: nothing new starts, and trials in training end within seconds."""
    return shaped(db, [jobs.cancel(db, job.id, caller)])[0]


@router.post("/{job_id}/share", responses=documented(404, 422))
def share(job: Own, db: Db, caller: Submitter) -> JobAnswer:
    """Lets every caller of this server see the job; its owner and administrators alone change it."""
    return shaped(db, [jobs.share(db, job.id, True, caller)])[0]


@router.post("/{job_id}/unshare", responses=documented(404, 422))
def unshare(job: Own, db: Db, caller: Submitter) -> JobAnswer:
    """Keeps the job to its owner and administrators again."""
    return shaped(db, [jobs.share(db, job.id, False, caller)])[0]


@router.post("/{job_id}/pause", status_code=202, responses=documented(404, 409, 422))
def pause(job: Own, db: Db, caller: Submitter) -> JobAnswer:
    """Halts a job: nothing new starts, runs in training are given back unfinished, its deadline stands still."""
    return shaped(db, [pauses.pause(db, job.id, caller)])[0]


@router.post("/{job_id}/resume", status_code=202, responses=documented(404, 409, 422))
def resume(job: Own, db: Db, caller: Submitter) -> JobAnswer:
    """Lets a paused job go on where it was."""
    return shaped(db, [pauses.resume(db, job.id, caller)])[0]


@router.patch("/{job_id}", responses=documented(404, 408, 409, 413, 415, 422))
def revise(job: Own, changes: Changes, db: Db, config: Config, caller: Submitter) -> JobAnswer:
    """Changes the priority, the limit of runs at once or, upwards, the trials. Its name and the rest stay.

    More trials of a completed job take it back into its search; then it is confirmed and reported anew.
    """
    return shaped(db, [revisions.revise(db, job.id, revisions.parsed(changes), caller, Quotas.of(config))])[0]


@router.post(
    "/{job_id}/clone",
    status_code=201,
    response_model=JobAnswer,
    responses={
        200: {"model": JobAnswer, "description": "Cloned before with this key"},
        **documented(404, 408, 413, 415, 422),
    },
)
def clone(
    like: Known,
    config: Config,
    db: Db,
    caller: Submitter,
    response: Response,
    changes: Merged = None,
    idempotency_key: Key = None,
) -> JobAnswer:
    """Queues a job like this one, with these fields of it changed. It is examined like any submission."""
    spec = submission.merged(like.spec, changes or {})
    return _submitted(db, *submission.submit(db, config, spec, caller, idempotency_key), response)


def _submitted(db: Db, job: Job, created: bool, response: Response) -> JobAnswer:
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    response.status_code = 201 if created else 200
    return shaped(db, [job])[0]
