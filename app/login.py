"""/ui/login and /ui/logout: a browser gives a key once and gets a session."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from app import audit, keys, sessions
from app.api.given import Db
from app.callers import Caller, Stranger
from app.drawing import draw
from app.gate import LOGIN, PAGES, address, cookie_in, fields, too_often
from app.keys import Key
from app.rates import Rate

router = APIRouter(include_in_schema=False)

Next = Annotated[str, Query(max_length=2000)]


async def _form(request: Request) -> dict[str, str]:
    try:
        return fields(await request.body())
    except ValueError:  # more fields than a form of ours has
        return {}


Form = Annotated[dict[str, str], Depends(_form)]


@router.get(LOGIN)
def login_page(request: Request, db: Db, next: Next = "/ui") -> Response:  # noqa: A002
    wanted = _here(next)
    cookie = cookie_in(request.headers)
    if not keys.exist(db) or (cookie is not None and sessions.find(db, cookie) is not None):
        return RedirectResponse(wanted, status_code=303)
    return _page(wanted)


@router.post(LOGIN)
def login(request: Request, db: Db, form: Form) -> Response:
    at = address(request.scope)
    wanted = _here(form.get("next", "/ui"))
    key = keys.find(db, form.get("key", "").strip())
    if key is None:
        failures: Rate = request.app.state.failures
        if wait := failures.take(str(at)):
            return too_often(wait, "Too many keys that are none came from this address.")
        with db.begin() as connection:
            audit.add(connection, Stranger(at), "login.failed")
        return _page(wanted, refused=True)
    response = RedirectResponse(wanted, status_code=303)
    _give(response, request, sessions.begin(db, key, _caller(key, at)))
    return response


@router.post("/ui/logout")
def logout(request: Request, db: Db) -> Response:
    caller: Caller = request.state.caller
    cookie = cookie_in(request.headers)
    if cookie is not None:
        sessions.end(db, cookie, caller)
    response = RedirectResponse(LOGIN, status_code=303)
    response.delete_cookie(sessions.COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _page(wanted: str, refused: bool = False) -> Response:
    response = draw("login.html", None, here="login", wanted=wanted, refused=refused)
    response.status_code = 401 if refused else 200
    return response


def _give(response: Response, request: Request, cookie: str) -> None:
    response.set_cookie(
        sessions.COOKIE,
        cookie,
        max_age=int(sessions.LASTS),
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _here(wanted: str) -> str:
    """Where to go after the login: a page of this server, and of no other that an address could smuggle in."""
    path = wanted.partition("?")[0]
    ours = any(path == page or path.startswith(f"{page}/") for page in PAGES)
    return wanted if ours and wanted.isascii() and wanted.isprintable() and "\\" not in wanted else "/ui"


def _caller(key: Key, at: str | None) -> Caller:
    return Caller(key.owner, key.scope, key.prefix, at)
