"""/api/v1/datasets: upload, list, get, delete."""

import hashlib
import tempfile
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app import datasets
from app.api.answers import moment
from app.api.given import Config, Db, Reader, Submitter
from app.api.jobs import Limit
from app.callers import ADMIN, Caller, NotAllowed
from app.data_of_job import may_use
from app.datasets import Dataset
from app.problems import documented

router = APIRouter(prefix="/datasets", tags=["datasets"])

Name = Annotated[
    str, Query(pattern=f"^{datasets.NAME.pattern}$", description="letters, digits, points, hyphens, underscores")
]
Label = Annotated[
    str,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="the target column, of a table"),
]
FILE = {"schema": {"type": "string", "format": "binary"}}
BODY = {"required": True, "content": dict.fromkeys(("application/octet-stream", "text/csv", "application/zip"), FILE)}


class DatasetAnswer(BaseModel):
    """A file that was uploaded, and what is in it once a worker has read it."""

    id: str
    name: str
    owner: str
    sha256: str
    size: Annotated[int, Field(description="bytes")]
    format: Literal["npz", "csv", "idx"] | None
    label: Annotated[str, Field(description="the target column, of a table")]
    state: Literal["uploaded", "validating", "ready", "refused"]
    error: Annotated[str | None, Field(description="why it was refused")]
    preview: Annotated[dict[str, Any] | None, Field(description="samples, shape, classes, range; null until ready")]
    created: datetime


class DatasetPage(BaseModel):
    items: list[DatasetAnswer]
    next_cursor: Annotated[str | None, Field(description="give it as `cursor` to read on; null on the last page")]


def _seen(dataset_id: Annotated[str, Path()], db: Db, caller: Reader) -> Dataset:
    found = datasets.get(db, dataset_id)
    if not may_use(caller, found):
        raise datasets.DatasetNotFound(f"no data set has the id {dataset_id!r}")  # as if there were none
    return found


def _own(caller: Submitter, found: Annotated[Dataset, Depends(_seen)]) -> Dataset:
    if not may_use(caller, found):
        raise NotAllowed(f"the data set {found.id!r} belongs to {found.owner!r}: only they may change it")
    return found


KnownDataset = Annotated[Dataset, Depends(_seen)]
"""The data set named in the path, where the caller may use it; else 404."""
OwnDataset = Annotated[Dataset, Depends(_own)]
"""The same, where the caller may change it; else 403."""


async def upload(
    request: Request,
    response: Response,
    config: Config,
    db: Db,
    caller: Submitter,
    name: Name,
    label: Label = "label",
) -> DatasetAnswer:
    """Keeps the body, a `.npz`, a `.csv` or a zip of idx files, under a name; a worker then reads it.

    The same file under the same name again is the same data set (200).
    """
    with tempfile.TemporaryFile(dir=config.state_dir) as file:  # it has no name: it goes with this process, however
        sha256, size = await _receive(request, file)
        given = (file, sha256, size, name, caller, label, config.quota_storage)
        kept, new = await run_in_threadpool(datasets.keep, db, *given)
    response.headers["Location"] = f"/api/v1/datasets/{kept.id}"
    response.status_code = 201 if new else 200
    return shaped(kept)


for method in ("POST", "PUT"):
    router.add_api_route(
        "",
        upload,
        methods=[method],
        operation_id=f"{method.lower()}_dataset",
        status_code=201,
        response_model=DatasetAnswer,
        openapi_extra={"requestBody": BODY},
        responses={
            200: {"model": DatasetAnswer, "description": "Uploaded before under this name"},
            **documented(408, 409, 413, 415, 422),
        },
    )


@router.get("", responses=documented(422))
def page(db: Db, caller: Reader, limit: Limit = 20, cursor: str | None = None) -> DatasetPage:
    """Your data sets, the newest first."""
    found, next_cursor = datasets.page(db, limit, cursor, owner_shown(caller))
    return DatasetPage(items=[shaped(each) for each in found], next_cursor=next_cursor)


@router.get("/{dataset_id}", responses=documented(404, 422))
def get(found: KnownDataset) -> DatasetAnswer:
    """A data set, and what is in it once a worker has read it."""
    return shaped(found)


@router.delete("/{dataset_id}", status_code=204, responses=documented(404, 409, 422))
def delete(found: OwnDataset, db: Db, caller: Submitter) -> None:
    """Deletes a data set that no unfinished job trains on; jobs that ended keep its hash."""
    datasets.remove(db, found.id, caller)


def owner_shown(caller: Caller) -> str | None:
    """Whose data sets a list shows; None: everybody's."""
    return None if caller.scope == ADMIN else caller.owner


def shaped(kept: Dataset) -> DatasetAnswer:
    return DatasetAnswer(
        id=kept.id,
        name=kept.name,
        owner=kept.owner,
        sha256=kept.sha256,
        size=kept.size,
        format=cast(Any, kept.format),
        label=kept.label,
        state=cast(Any, kept.state),
        error=kept.error,
        preview=kept.preview,
        created=moment(kept.created),
    )


async def _receive(request: Request, file: BinaryIO) -> tuple[str, int]:
    """Streams the body into `file`; its sha256 and its bytes, which the guards have bounded."""
    digest, size = hashlib.sha256(), 0
    try:
        async for piece in request.stream():
            digest.update(piece)
            size += len(piece)
            await run_in_threadpool(file.write, piece)
    except ClientDisconnect:
        raise HTTPException(400, f"The upload was cut short after {size:,} bytes.") from None
    if size == 0:
        raise HTTPException(422, "The body is empty; send the file as it is.")
    return digest.hexdigest(), size
