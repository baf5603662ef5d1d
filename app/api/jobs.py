"""/api/v1/jobs: submit, list, get, cancel."""

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from app import jobs, submission
from app.api.answers import JobAnswer, JobPage, State
from app.api.given import Config, Db, Known, Own, Submitter
from app.api.shape import shaped
from app.problems import documented
from search.spec import JobSpec, dump

router = APIRouter(prefix="/jobs", tags=["jobs"])

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="the same key and body make one job"),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Text = Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$", description="part of the name")]


@router.post(
    "",
    status_code=201,
    response_model=JobAnswer,
    responses={
        200: {"model": JobAnswer, "description": "Submitted before with this key"},
        **documented(404, 409, 413, 415, 422),
    },
)
def submit(
    spec: JobSpec, config: Config, db: Db, caller: Submitter, response: Response, idempotency_key: Key = None
) -> JobAnswer:
    """Queues a job. What only its data or shapes can show is refused here too, and nothing is created then."""
    found, problem = submission.examined(db, config, spec, caller)
    job, created = jobs.submit(db, found, problem, owner=caller.owner, key=idempotency_key, body_hash=_hash(spec))
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    response.status_code = 201 if created else 200
    return shaped(db, [job])[0]


@router.get("", responses=documented(422))
def page(
    db: Db,
    limit: Limit = 20,
    cursor: str | None = None,
    state: State | None = None,
    q: Text = None,
) -> JobPage:
    """Jobs, the newest first."""
    found, next_cursor = jobs.page(db, limit=limit, cursor=cursor, state=state, text=q)
    return JobPage(items=shaped(db, found), next_cursor=next_cursor)


@router.get("/{job_id}", responses=documented(404, 422))
def get(job: Known, db: Db) -> JobAnswer:
    """A job, how far it is, and the best it found so far."""
    return shaped(db, [job])[0]


@router.post("/{job_id}/cancel", status_code=202, responses=documented(404, 409, 422))
def cancel(job: Own, db: Db) -> JobAnswer:
    """Stops a job: nothing new starts, and trials in training end within seconds."""
    return shaped(db, [jobs.cancel(db, job.id)])[0]


def _hash(spec: JobSpec) -> str:
    # Of the job, not of its bytes: a retry by another client may order its fields differently.
    return hashlib.sha256(json.dumps(dump(spec), sort_keys=True).encode()).hexdigest()
