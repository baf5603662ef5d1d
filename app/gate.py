"""Lets no request through to a route without knowing who asks. What needs no login is listed; nothing else is open."""

import math
from collections.abc import Iterable
from dataclasses import replace
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import audit, keys, problems, sessions
from app.callers import LOCAL, Caller, Stranger, Visitor
from app.guards import SAFE
from app.rates import Rate

LOGIN = "/ui/login"
WITHOUT_LOGIN = ("/healthz", "/readyz", LOGIN, "/ui/static/")
PAGES = ("/ui", "/dashboard")
FAILURES_PER_MINUTE = 30  # of one address; each is written to the audit log
FORM = "application/x-www-form-urlencoded"
NEEDED = {"WWW-Authenticate": "Bearer"}
REFUSED = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Gate:
    """ASGI middleware. Routes find the caller in `request.state.caller`, pages the visitor in `request.state.visitor`.

    requests  of one key
    failures  of one address, counted here and at the login page
    """

    def __init__(self, app: ASGIApp, db: Engine, requests: Rate, failures: Rate) -> None:
        self.app = app
        self.db = db
        self.requests = requests
        self.failures = failures
        self.closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(WITHOUT_LOGIN):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            visitor = await run_in_threadpool(self._visitor, headers, address(scope))
        except OperationalError as error:
            await problems.unanswered(error, scope["app"].state.settings.state_dir, scope["path"])(scope, receive, send)
            return
        refusal: Response | None
        if isinstance(visitor, Stranger):
            refusal = await self._turned_away(scope, headers, visitor)
        else:
            refusal = self._too_often(visitor.caller)
            if refusal is None and visitor.csrf is not None and scope["method"] not in SAFE:
                receive, refusal = await _checked(visitor.csrf, headers, receive)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {}).update(caller=visitor.caller, visitor=visitor)  # type: ignore[union-attr]
        await self.app(scope, receive, send)

    def _visitor(self, headers: Headers, at: str | None) -> Visitor | Stranger:
        self.closed = self.closed or keys.exist(self.db)  # no key is ever forgotten
        if not self.closed:
            return Visitor(replace(LOCAL, address=at))
        if (shown := headers.get("authorization")) is not None:
            scheme, _, text = shown.partition(" ")
            key = keys.find(self.db, text.strip()) if scheme.lower() == "bearer" else None
            return Stranger(at, "unknown") if key is None else Visitor(_caller(key, at))
        cookie = cookie_in(headers)
        session = None if cookie is None else sessions.find(self.db, cookie)
        return Stranger(at) if session is None else Visitor(_caller(session.key, at), session.csrf)

    async def _turned_away(self, scope: Scope, headers: Headers, stranger: Stranger) -> Response:
        if stranger.key is not None:
            if wait := self.failures.take(str(stranger.address)):
                return too_often(wait, "Too many keys that are none came from this address.")
            await run_in_threadpool(_note_refused, self.db, stranger.address, scope["path"])
            return problems.respond(401, "This key is unknown, expired or revoked.", headers=REFUSED)
        if scope["method"] in SAFE and (scope["path"] == "/" or scope["path"].startswith(PAGES)):
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"{LOGIN}?{urlencode({'next': wanted})}", status_code=303)
        detail = "This server needs a key: send `Authorization: Bearer snas_...` (SNAS_API_KEY for the command line)."
        return problems.respond(401, detail, instance=scope["path"], headers=NEEDED)

    def _too_often(self, caller: Caller) -> Response | None:
        if caller.key is None or not (wait := self.requests.take(caller.key)):
            return None
        return too_often(wait, "More requests than SNAS_REQUESTS_PER_MINUTE allows came with this key.")


def address(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


def cookie_in(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(sessions.COOKIE)
    except CookieError:
        return None
    return found.value if found is not None else None


def too_often(wait: float, detail: str) -> Response:
    return problems.respond(429, detail, headers={"Retry-After": str(math.ceil(wait))})


def fields(body: bytes) -> dict[str, str]:
    """A form's fields; of one given twice the last."""
    return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=20))


def _caller(key: keys.Key, at: str | None) -> Caller:
    return Caller(key.owner, key.scope, key.prefix, at)


async def _checked(csrf: str, headers: Headers, receive: Receive) -> tuple[Receive, Response | None]:
    """What is left to receive, and the refusal of a change that no form or script of our own pages asks for."""
    given = headers.get("x-csrf-token")
    if given is None and headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        try:
            body = await _body(receive)
            given = fields(body).get("csrf")
        except HTTPException as error:
            return receive, problems.respond(error.status_code, error.detail)
        except ValueError as error:
            return receive, problems.respond(400, f"The form cannot be read: {error}.")
        receive = _again(body, receive)
    if given is not None and compare_digest(given.encode(), csrf.encode()):
        return receive, None
    return receive, problems.respond(403, "The form is not of this session; load the page anew, or send a key.")


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    messages: Iterable[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replayed() -> Message:
        for message in messages:
            return message
        return await receive()

    return replayed


def _note_refused(db: Engine, at: str | None, path: str) -> None:
    with db.begin() as connection:
        audit.add(connection, Stranger(at), "key.refused", quote(path[:200]))  # it may hold anything
