"""What is refused whoever asks: foreign Host and Origin, bodies of another kind, too large or too slow.

One route takes files. A form cannot send their types, and a script elsewhere would be asked for its origin first.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
UPLOADS = "/api/v1/datasets"
FORMS, JSON = ("application/x-www-form-urlencoded",), ("application/json",)
FILES = ("application/octet-stream", "text/csv", "application/zip")
CLOSE = {"Connection": "close"}  # or the rest would be read, to be thrown away
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Limits:
    """size: bytes; seconds: from the first look at a body to its last byte."""

    size: int
    seconds: float


class Guards:
    """ASGI middleware. Refuses a request before any route sees it.

    hosts     names that may stand in `Host`, ports apart; a rebound DNS name is not among them
    ordinary  of a body
    upload    of the body of an upload
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], ordinary: Limits, upload: Limits) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.ordinary = ordinary
        self.upload = upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = scope["path"] == UPLOADS and scope["method"] in ("POST", "PUT")
        limits = self.upload if is_upload else self.ordinary
        kinds = FILES if is_upload else FORMS if scope["path"].startswith("/ui/") else JSON
        if is_upload and scope["method"] == "PUT":
            kinds = (*kinds, "")  # `curl -T` names none; no page elsewhere may PUT
        refusal = (
            _host_refusal(headers, self.hosts)
            or _origin_refusal(scope["method"], headers)
            or _body_refusal(headers, limits.size, kinds)
        )
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, _limited(receive, limits.size, limits.seconds), send)


def _host_refusal(headers: Headers, hosts: frozenset[str]) -> Response | None:
    host = headers.get("host", "")
    if _name(host) in hosts:
        return None
    return problems.respond(400, f"Host {host!r} is not served here; allowed: {', '.join(sorted(hosts))}.")


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _origin_refusal(method: str, headers: Headers) -> Response | None:
    origin, host = headers.get("origin"), headers.get("host")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return problems.respond(403, f"Requests from the origin {origin!r} are not accepted.")
    # Sent by every browser since 2023: it also covers requests whose Origin was stripped. A link may lead here.
    if method not in SAFE and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return problems.respond(403, "Requests made by another site are not accepted.")
    return None


def _body_refusal(headers: Headers, largest_body: int, kinds: Collection[str]) -> Response | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        return problems.respond(400, f"Content-Length {length!r} is not a number.")
    if int(length) > largest_body:
        return problems.respond(413, _too_large(largest_body), headers=CLOSE)
    has_body = int(length) > 0 or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind not in kinds:
        return problems.respond(415, f"Content-Type {kind!r} is not accepted; send {' or '.join(filter(None, kinds))}.")
    return None


def _limited(receive: Receive, largest_body: int, body_seconds: float) -> Receive:
    # A chunked body announces no length, and an announced one need not come.
    received = 0
    deadline: float | None = None
    complete = False

    async def counted() -> Message:
        nonlocal received, deadline, complete
        if complete:  # what follows is the end of the connection, which may be hours away
            return await receive()
        deadline = deadline or asyncio.get_running_loop().time() + body_seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"The body did not come within {body_seconds:g} seconds.", CLOSE) from None
        complete = not message.get("more_body", False)
        received += len(message.get("body", b""))
        if received > largest_body:
            raise HTTPException(413, _too_large(largest_body), CLOSE)
        return message

    return counted


def _too_large(largest_body: int) -> str:
    return f"The body is larger than {largest_body:,} bytes."
