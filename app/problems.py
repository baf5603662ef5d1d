"""Every error as `application/problem+json` (RFC 9457), from one table of named errors."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from optuna.exceptions import StorageInternalError
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app import blobs, cursors, datasets, jobs, keys, outages, pauses, queueing, quotas, reports, revisions, runs
from app.callers import NotAllowed
from app.headers import EVERYWHERE
from app.readiness import NotReady
from search import topologies
from search.faults import InvalidSpec
from search.spec import parse

MEDIA_TYPE = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

STATUS: dict[type[Exception], int] = {
    NotAllowed: 403,
    quotas.QuotaExceeded: 403,
    keys.KeyNotFound: 404,
    jobs.JobNotFound: 404,
    jobs.JobFinished: 409,
    pauses.NotPausable: 409,
    revisions.NotNow: 409,
    reports.TrialNotFound: 404,
    runs.RunNotFound: 404,
    topologies.NotKept: 409,
    blobs.BlobNotFound: 404,
    queueing.DatasetGone: 404,
    datasets.DatasetNotFound: 404,
    datasets.DatasetNotReady: 409,
    datasets.DatasetInUse: 409,
    datasets.NameTaken: 409,
    datasets.StorageFull: 413,
    queueing.IdempotencyConflict: 422,
    cursors.InvalidCursor: 422,
    NotReady: 503,
    OperationalError: 503,  # or 507
    StorageInternalError: 503,
}
"""Which named error is which status; its own words are the detail, but for the database's."""

log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One field that cannot be accepted, its value, and what is allowed."""

    field: str
    value: Any = None
    message: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 writes it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[Fault] | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can answer these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def respond(
    status: int,
    detail: str,
    *,
    instance: str | None = None,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if instance:
        body["instance"] = instance
    if errors:
        body["errors"] = printable(list(errors))
    # ASCII: a lone surrogate out of a user's "\ud800" has no UTF-8 form.
    text = json.dumps(body, ensure_ascii=True, allow_nan=False)
    # Here too: what the server did not expect is answered outside of every middleware.
    return Response(text, status, media_type=MEDIA_TYPE, headers=EVERYWHERE | dict(headers or {}))


def printable(value: Any) -> Any:
    """`value` with what JSON cannot say (NaN, infinities, objects) written as text."""
    if isinstance(value, Mapping):
        return {str(key): printable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [printable(each) for each in value]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))


def install(app: FastAPI) -> None:
    """Answers every error of `app` with a problem."""
    for error in STATUS:
        app.add_exception_handler(error, _named)
    app.add_exception_handler(InvalidSpec, _invalid_spec)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    _describe(app)


def _describe(app: FastAPI) -> None:
    # `documented` refers to a schema that FastAPI would only add for a model sent as application/json.
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _named(request: Request, error: Exception) -> Response:
    kind = next(each for each in type(error).__mro__ if each in STATUS)
    if kind in (OperationalError, StorageInternalError):
        return unanswered(error, request.app.state.settings.state_dir, request.url.path)
    return respond(STATUS[kind], str(error), instance=request.url.path)


def unanswered(error: Exception, state_dir: Path, path: str) -> Response:
    log.error("%s", outages.reason(error, state_dir), exc_info=error)
    return respond(*_outage(error), instance=path)


def _outage(error: Exception) -> tuple[int, str]:
    if outages.is_full(error):
        return 507, "No space is left where the server keeps its state; nothing was stored. Try again when there is."
    if outages.is_read_only(error):
        return 503, "The server's state cannot be written at the moment: its disk is read-only. Nothing was stored."
    return 503, "The database does not answer at the moment; try again."


def _invalid_spec(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidSpec)
    return respond(422, str(error), instance=request.url.path, errors=error.faults)


def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        detail = f"The body is not JSON: {faults[0]['ctx']['error']} at character {faults[0]['loc'][-1]}."
        return respond(400, detail, instance=request.url.path)
    if isinstance(error.body, dict) and any(each["loc"][0] == "body" for each in faults):
        try:
            parse(error.body)
        except InvalidSpec as invalid:  # the same refusal in the job's own words
            return _invalid_spec(request, invalid)
    named = [{"field": _field(each["loc"]), "value": each.get("input"), "message": each["msg"]} for each in faults]
    detail = "; ".join(f"{each['field']}: {each['message']}" for each in named)
    return respond(422, detail, instance=request.url.path, errors=named)


def _field(location: Sequence[Any]) -> str:
    place, *path = location
    if place == "body":
        return ".".join(map(str, path)) or "(the job)"
    return ".".join(map(str, path)) or str(place)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
        detail = f"{request.method} is not allowed here; allowed: {headers['Allow']}."
    elif error.status_code == 404 and error.detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {request.url.path}."
    else:
        detail = error.detail
    return respond(error.status_code, detail, instance=request.url.path, headers=headers)


def _allowed(request: Request) -> list[str]:
    # Each route knows its own methods only; a path may have several routes.
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]


def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, so that the server logs it.
    return respond(500, "The server failed on this request; its log has the reason.", instance=request.url.path)
