"""optuna-dashboard at its own absolute paths, read only, and for each caller with the studies they may see."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import cast

from a2wsgi import WSGIMiddleware
from optuna.storages import BaseStorage
from optuna_dashboard import wsgi
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems, studies
from app.callers import Caller

PATHS = (
    "/dashboard{path:path}",
    "/static/{path:path}",
    "/api/studies{path:path}",
    "/api/compare-studies{path:path}",
    "/api/meta",
    "/artifacts/{path:path}",
    "/csv/{path:path}",
    "/favicon.ico",
)
"""Fixed in the dashboard's bundle when it was built: a mount under a prefix gives a page that cannot find its parts."""
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data: blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Its plots draw by WebGL, for which Plotly makes code; nothing else is asked of other places."""


def routes(storage: BaseStorage, db: Engine) -> Iterable[Route]:
    """The dashboard over a storage that must itself refuse to write: two locks, of which this is the first."""
    dashboard = ReadOnly(cast(ASGIApp, WSGIMiddleware(wsgi(storage))), db)  # a2wsgi names ASGI's types anew
    return [Route(path, dashboard, methods=["GET", "HEAD"], include_in_schema=False) for path in PATHS]


class ReadOnly:
    """Passes a request on, its path unstripped; an error of the dashboard becomes a problem that keeps its `reason`."""

    def __init__(self, dashboard: ASGIApp, db: Engine) -> None:
        self._dashboard = dashboard
        self._db = db

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["state"]["caller"]
        path: str = scope["path"]
        if not await run_in_threadpool(studies.may_see, self._db, caller, path):
            await problems.respond(404, f"There is nothing at {path}.", instance=path)(scope, receive, send)
            return
        listing = path == studies.LIST and not caller.sees_all
        status, body = 200, b""

        async def watched(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(raw=message["headers"])["Content-Security-Policy"] = POLICY
            if status < 400 and not listing:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        await self._dashboard(scope, receive, watched)
        if status >= 400:
            await problems.respond(status, _reason(body, status), instance=path)(scope, receive, send)
        elif listing:
            shown = await run_in_threadpool(studies.visible, self._db, caller)
            await JSONResponse(_only(body, shown))(scope, receive, send)


def _only(body: bytes, shown: set[int]) -> dict[str, list[dict[str, object]]]:
    listed = json.loads(body)["study_summaries"] if body else []  # a HEAD request has no body
    return {"study_summaries": [each for each in listed if each["study_id"] in shown]}


def _reason(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["reason"])
    except (ValueError, KeyError, TypeError):
        return HTTPStatus(status).description or HTTPStatus(status).phrase
