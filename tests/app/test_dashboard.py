"""optuna-dashboard: all of it can be read, nothing of it written."""

import re
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from starlette.testclient import TestClient

from app import database
from app.settings import Settings

WRITES = [
    ("POST", "/api/studies"),
    ("DELETE", "/api/studies/1"),
    ("PUT", "/api/studies/1/note"),
    ("POST", "/api/studies/1/rename"),
    ("POST", "/api/trials/1/tell"),
    ("POST", "/api/trials/1/user-attrs"),
    ("PUT", "/api/studies/1/1/note"),
    ("DELETE", "/api/artifacts/1/1/x"),
    ("POST", "/dashboard"),
    ("POST", "/static/bundle.js"),
]


def studies(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/api/studies").json()["study_summaries"]
    return found


def test_the_dashboard_finds_its_script_and_its_data(trained: TestClient) -> None:
    page = trained.get("/dashboard")
    assert page.status_code == 200
    script = re.search(r'src="(/static/[^"]+)"', page.text)
    assert script is not None
    assert "javascript" in trained.get(script[1]).headers["content-type"]
    assert trained.get("/api/meta").status_code == 200


def test_the_study_of_a_job_is_where_its_link_leads(trained: TestClient) -> None:
    [job] = trained.get("/api/v1/jobs").json()["items"]
    [study] = studies(trained)
    assert job["links"]["dashboard"] == f"/dashboard/studies/{study['study_id']}"
    shown = trained.get(f"/api/studies/{study['study_id']}").json()
    assert len(shown["trials"]) == 5


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_what_could_write_is_refused(trained: TestClient, method: str, path: str) -> None:
    before = studies(trained)
    response = trained.request(method, path, json={})
    assert response.status_code in (404, 405)
    assert response.headers["content-type"] == "application/problem+json"
    assert studies(trained) == before


def test_its_storage_cannot_write_whoever_asks(sqlite: Settings) -> None:
    storage = database.optuna_storage(sqlite, read_only=True)
    with pytest.raises(StorageInternalError) as refused:
        storage.create_new_study([])
    assert "readonly database" in str(refused.value.__cause__)
    storage.remove_session()
    storage.engine.dispose()


def test_its_own_errors_are_problems_that_keep_their_reason(untouched: TestClient) -> None:
    response = untouched.get("/api/studies/77")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "77" in response.json()["detail"]


def test_an_empty_server_has_a_dashboard_without_studies(untouched: TestClient) -> None:
    assert studies(untouched) == []


def test_a_head_request_gets_no_body(untouched: TestClient) -> None:
    response = untouched.head("/dashboard")
    assert (response.status_code, response.content) == (200, b"")
