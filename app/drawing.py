"""Draws a template: filters for readers, addresses of static files, and the policy that fences a page in."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import words
from app.callers import Visitor

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'"
)


def draw(name: str, visitor: Visitor | None, styles_in_place: bool = False, **values: Any) -> HTMLResponse:
    """visitor: None before the login; styles_in_place: whether scripts of this page may set styles on its elements"""
    return HTMLResponse(
        _templates().get_template(name).render(values, visitor=visitor),
        headers={"Content-Security-Policy": POLICY + (" 'unsafe-inline'" if styles_in_place else "")},
    )


@cache
def _templates() -> Environment:
    # StrictUndefined: a name that the page does not give is an error, not a hole in the page.
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates.filters |= {each.__name__: each for each in words.FILTERS}
    templates.globals |= {"asset": _asset, "version": version("snas")}
    return templates


@cache
def _asset(name: str) -> str:
    # A changed file has another address: no browser mixes an old script with a new page.
    digest = hashlib.sha256((HERE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/ui/static/{name}?{digest}"
