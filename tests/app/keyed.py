"""A server that asks for keys, and some who hold one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.testclient import TestClient

from app import database, keys
from app.callers import ADMIN, LOCAL, READ, SUBMIT
from app.main import create_app
from app.settings import Settings

URL = "http://127.0.0.1:8000"
HOLDERS = {"root": ("root", ADMIN), "ada": ("ada", SUBMIT), "bob": ("bob", SUBMIT), "reader": ("ada", READ)}


class Keyed:
    """keys: holder -> the text of their key; `root` administers, `reader` only reads what is `ada`'s."""

    def __init__(self, client: TestClient, keys: dict[str, str]) -> None:
        self.client, self.keys = client, keys

    def headers(self, holder: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[holder]}"}

    def ask(self, holder: str, method: str, path: str, **given: Any) -> Any:
        self.client.cookies.clear()
        given["headers"] = self.headers(holder) | given.get("headers", {})
        return self.client.request(method, path, follow_redirects=False, **given)

    def get(self, holder: str, path: str, **given: Any) -> Any:
        return self.ask(holder, "GET", path, **given)

    def submit(self, holder: str, spec: dict[str, Any], **given: Any) -> str:
        answer = self.ask(holder, "POST", "/api/v1/jobs", json=spec, **given)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def audited(self, **asked: Any) -> list[tuple[str | None, str, str | None]]:
        """(owner, action, target) of the log, oldest first."""
        items = self.get("root", "/api/v1/audit", params=asked).json()["items"]
        return [(each["owner"], each["action"], each["target"]) for each in reversed(items)]


@contextmanager
def keyed(settings: Settings) -> Iterator[Keyed]:
    db = database.engine(settings)
    made = {name: keys.create(db, owner, scope, name, LOCAL)[1] for name, (owner, scope) in HOLDERS.items()}
    db.dispose()
    app = create_app(settings)
    for rate in (app.state.requests, app.state.failures):
        rate._clock = lambda: 0.0  # however long a test takes, nothing is refilled
    with TestClient(app, base_url=URL) as client:
        yield Keyed(client, made)
