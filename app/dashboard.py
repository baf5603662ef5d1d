"""optuna-dashboard at its own absolute paths, read only."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import cast

from a2wsgi import WSGIMiddleware
from optuna.storages import BaseStorage
from optuna_dashboard import wsgi
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems

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


def routes(storage: BaseStorage) -> Iterable[Route]:
    """The dashboard over a storage that must itself refuse to write: two locks, of which this is the first."""
    dashboard = ReadOnly(cast(ASGIApp, WSGIMiddleware(wsgi(storage))))  # a2wsgi names ASGI's types anew
    return [Route(path, dashboard, methods=["GET", "HEAD"], include_in_schema=False) for path in PATHS]


class ReadOnly:
    """Passes a request on, its path unstripped; an error of the dashboard becomes a problem that keeps its `reason`."""

    def __init__(self, dashboard: ASGIApp) -> None:
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 200
        body = b""

        async def watched(message: Message) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            if status < 400:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        await self._dashboard(scope, receive, watched)
        if status >= 400:
            await problems.respond(status, _reason(body, status), instance=scope["path"])(scope, receive, send)


def _reason(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["reason"])
    except (ValueError, KeyError, TypeError):
        return HTTPStatus(status).description or HTTPStatus(status).phrase
