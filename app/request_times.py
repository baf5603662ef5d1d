"""How long requests take, and how long they wait for the database: of this process alone."""

import time
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from sqlalchemy import Connection, Engine, event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
STREAMS = "text/event-stream"


class RequestTimes:
    """ASGI middleware. Event streams last as long as their job: they are left out."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._seconds = Histogram(
            "snas_http_request_seconds",
            "Requests answered by this process, by route.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        answered: dict[str, Any] = {"status": 500, "stream": False}

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
                answered["stream"] = (b"content-type", STREAMS.encode()) in [
                    (name, value.partition(b";")[0]) for name, value in message["headers"]
                ]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if not answered["stream"]:
                method = scope["method"] if scope["method"] in METHODS else "(other)"
                labels = (method, _route(scope), str(answered["status"]))
                self._seconds.labels(*labels).observe(time.perf_counter() - began)


def _route(scope: Scope) -> str:
    """The path with the names of its parameters in place of their values: each id would make a series of its own."""
    if "endpoint" not in scope:
        return "(none)"
    if scope.get("root_path"):  # a mounted folder of files
        return f"{scope['root_path']}/{{path}}"
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        slash = "" if str(value)[:1] in ("", "/") else "/"  # some parameters begin with theirs
        head, found, tail = f"{path}/".rpartition(f"{slash}{value}/")
        path = f"{head}{slash}{{{name}}}/{tail}".rstrip("/") if found else path
    return path


def watch_database(db: Engine, registry: CollectorRegistry) -> None:
    """Times how long transactions wait to begin writing, where one at a time does: on SQLite."""
    waited = Histogram(
        "snas_database_wait_seconds",
        "Until a writing transaction of this process had the database to itself.",
        buckets=SECONDS,
        registry=registry,
    )

    @event.listens_for(db, "before_cursor_execute")
    def _before(_c: Connection, _cursor: Any, _statement: str, _p: Any, context: Any, _many: bool) -> None:
        context.began = time.perf_counter()

    @event.listens_for(db, "after_cursor_execute")
    def _after(_c: Connection, _cursor: Any, statement: str, _p: Any, context: Any, _many: bool) -> None:
        if statement == "BEGIN IMMEDIATE":
            waited.observe(time.perf_counter() - context.began)
