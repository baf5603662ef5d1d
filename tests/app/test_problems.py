"""Every error is problem+json that says what to change."""

import json
import logging
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from trained import TINY

from app import database, problems
from app.problems import STATUS, printable
from app.settings import Settings

JSON = {"Content-Type": "application/json"}


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"] == HTTPStatus(status).phrase
    assert body["detail"]
    assert "Traceback" not in response.text
    return body


def refused(untouched: TestClient, text: str, status: int = 422) -> list[dict[str, Any]]:
    body = problem(untouched.post("/api/v1/jobs", content=text.encode(), headers=JSON), status)
    assert untouched.get("/api/v1/jobs").json()["items"] == [], "nothing may be half-created"
    errors: list[dict[str, Any]] = body.get("errors", [])
    return errors


def changed(**changes: Any) -> str:
    return json.dumps(TINY | changes)


@pytest.mark.parametrize(
    ("field", "value", "allowed", "text"),
    [
        ("search.space.low", 0, "greater than 0", changed(search={"space": {"kind": "free", "low": 0}})),
        ("search.space.high", 1.5, "less than or equal to 1", changed(search={"space": {"kind": "free", "high": 1.5}})),
        ("search.space.low", "NaN", "finite", changed(search={"space": {"kind": "free", "low": float("nan")}})),
        ("seed", "Infinity", "finite", changed(seed=float("inf"))),
        ("colour", "blue", "name, data, seed", changed(colour="blue")),
        ("data.kind", "imagenet", "'bundled'", changed(data={"kind": "imagenet"})),
        ("data.name", "mnist", "'digits'", changed(data={"kind": "bundled", "name": "mnist"})),
        ("data", None, "required", '{"name": "a"}'),
        ("name", "\ud800", "unicode", changed(name="\ud800")),
        ("name", "a\0b", "pattern", changed(name="a\0b")),
        ("network.channels.1", None, "required", changed(network={"kind": "lenet5", "channels": [6]})),
        ("search.max_parallel", 10**30, "10000", changed(search={"max_parallel": 10**30})),
        ("confirm.seeds", 10**30, "1000", changed(confirm={"seeds": 10**30})),
        ("network.keep_dense", ["fc9"], "fc1", changed(network={"kind": "mlp", "widths": [8], "keep_dense": ["fc9"]})),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_an_unacceptable_job_is_refused_with_field_value_and_what_is_allowed(
    untouched: TestClient, field: str, value: Any, allowed: str, text: str
) -> None:
    [error] = refused(untouched, text)
    assert (error["field"], error["value"]) == (field, value)
    assert allowed in error["message"]


def test_every_fault_of_a_job_is_named_at_once(untouched: TestClient) -> None:
    fields = [error["field"] for error in refused(untouched, changed(seed=-1, priority=9999))]
    assert fields == ["seed", "priority"]


@pytest.mark.parametrize("text", ["", "{", '{"name": }', "nope", "[" * 100_000, '{"seed": 1' + "0" * 5000 + "}"])
def test_what_is_not_json_is_refused(untouched: TestClient, text: str) -> None:
    refused(untouched, text, 422 if text == "" else 400)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"job"'])
def test_json_that_is_no_object_is_no_job(untouched: TestClient, text: str) -> None:
    refused(untouched, text)


def test_a_path_that_leaves_the_data_directory_is_refused(untouched: TestClient) -> None:
    [error] = refused(untouched, changed(data={"kind": "files", "name": "../../etc/passwd"}))
    assert error["field"].startswith("data")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/api/v1/jobs/nope", 404),
        ("GET", "/api/v1/jobs/nope/report", 404),
        ("GET", "/api/v1/jobs/nope/events", 404),
        ("POST", "/api/v1/jobs/nope/cancel", 404),
        ("POST", "/api/v1/jobs/nope/pause", 404),
        ("POST", "/api/v1/jobs/nope/resume", 404),
        ("POST", "/api/v1/jobs/nope/clone", 404),
        ("GET", "/ui/jobs/nope", 404),
        ("GET", "/ui/static/nope.js", 404),
        ("POST", "/ui/static/snas.css", 405),
        ("DELETE", "/api/v1/jobs/nope", 405),
        ("GET", "/api/v1/jobs?limit=0", 422),
        ("GET", "/api/v1/jobs?limit=many", 422),
        ("GET", "/api/v1/jobs?state=lost", 422),
        ("GET", "/api/v1/jobs?cursor=nope", 422),
        ("GET", "/ui?state=lost", 422),
        ("GET", "/ui?q=%00", 422),
        ("GET", "/api/v1/jobs?q=%00", 422),
    ],
)
def test_every_refusal_is_a_problem(untouched: TestClient, method: str, path: str, status: int) -> None:
    body = problem(untouched.request(method, path), status)
    assert body["instance"] == path.partition("?")[0]


def test_a_header_at_fault_is_named(untouched: TestClient) -> None:
    body = problem(untouched.post("/api/v1/jobs", json=TINY, headers={"Idempotency-Key": "k" * 300}), 422)
    assert body["errors"][0]["field"] == "Idempotency-Key"


def broken(error: Exception) -> TestClient:
    app = FastAPI()
    app.state.settings = Settings()
    problems.install(app)

    @app.get("/")
    def fail() -> None:
        raise error

    return TestClient(app, raise_server_exceptions=False)


def test_an_unforeseen_error_is_a_problem_that_shows_nothing_of_the_inside() -> None:
    body = problem(broken(RuntimeError("the secret")).get("/"), 500)
    assert "secret" not in json.dumps(body)


@pytest.mark.parametrize(
    "error",
    [kind for kind in STATUS if kind not in (OperationalError, StorageInternalError)],
    ids=lambda kind: kind.__name__,
)
def test_a_named_error_has_its_status_and_its_own_words(error: type[Exception]) -> None:
    assert problem(broken(error("what went wrong")).get("/"), STATUS[error])["detail"] == "what went wrong"


def test_a_database_that_does_not_answer_is_503_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        body = problem(broken(OperationalError("SELECT secret", None, Exception("locked"))).get("/"), 503)
    assert "secret" not in json.dumps(body)
    assert "locked" in caplog.text


@pytest.mark.parametrize(
    ("words", "status", "detail"),
    [
        ("database or disk is full", 507, "No space is left"),
        ("attempt to write a readonly database", 503, "read-only"),
    ],
)
def test_a_disk_that_takes_nothing_is_named_in_the_answer_and_in_the_log(
    words: str, status: int, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault = OperationalError("INSERT secret", None, Exception(words))
    wrapped = StorageInternalError("An exception is raised during the commit.")
    wrapped.__cause__ = fault
    for error in (fault, wrapped):
        body = problem(broken(error).get("/"), status)
        assert detail in body["detail"]
        assert "secret" not in json.dumps(body)
    assert f"state directory {Settings().state_dir}" in caplog.text


def test_a_server_whose_database_is_of_another_version_is_not_ready(client: TestClient, sqlite: Settings) -> None:
    with database.engine(sqlite).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'older'")
    assert "older" in problem(client.get("/readyz"), 503)["detail"]
    assert client.get("/healthz").status_code == 200


def test_every_documented_error_is_problem_json(untouched: TestClient) -> None:
    document = untouched.get("/openapi.json").json()
    assert {"Problem", "Fault"} <= set(document["components"]["schemas"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], f"{method} {path} {status}"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_whatever_a_body_held_can_be_printed(value: Any) -> None:
    json.dumps(printable(value), allow_nan=False)
