"""A web page elsewhere cannot drive the server."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from trained import TINY

from app.main import create_app
from app.settings import Settings

LARGEST_BODY = Settings().largest_body
OWN = {"Origin": "http://127.0.0.1:8000"}


def refusal(response: Any) -> int:
    assert response.headers["content-type"] == "application/problem+json"
    return int(response.status_code)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "[::1]:8000", "LOCALHOST"])
def test_loopback_names_are_served(untouched: TestClient, host: str) -> None:
    assert untouched.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "[::1", "10.0.0.1"]
)
def test_a_rebound_name_is_refused(untouched: TestClient, host: str) -> None:
    assert refusal(untouched.get("/api/v1/jobs", headers={"Host": host})) == 400


def test_a_name_that_the_operator_allows_is_served(sqlite: Settings) -> None:
    allowed = sqlite.model_copy(update={"allowed_hosts": ("snas.example",)})
    with TestClient(create_app(allowed), base_url="http://snas.example") as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"Host": "other.example"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        OWN | {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_page_of_another_origin_can_neither_submit_nor_cancel(client: TestClient, headers: dict[str, str]) -> None:
    job = client.post("/api/v1/jobs", json=TINY).json()
    assert refusal(client.post("/api/v1/jobs", json=TINY, headers=headers)) == 403
    assert refusal(client.post(f"/api/v1/jobs/{job['id']}/cancel", headers=headers)) == 403
    assert refusal(client.post(f"/ui/jobs/{job['id']}/cancel", headers=headers)) == 403
    assert [job["state"] for job in client.get("/api/v1/jobs").json()["items"]] == ["queued"]


@pytest.mark.parametrize(
    "headers", [{}, OWN, OWN | {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}], ids=str
)
def test_our_own_pages_and_command_lines_may_submit(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/v1/jobs", json=TINY, headers=headers).status_code == 201


def test_a_link_on_another_site_may_lead_here(untouched: TestClient) -> None:
    assert untouched.get("/ui", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_could_send_is_refused(untouched: TestClient, kind: str) -> None:
    assert refusal(untouched.post("/api/v1/jobs", content=b"{}", headers={"Content-Type": kind})) == 415


def test_json_with_a_charset_is_json(untouched: TestClient) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert untouched.post("/api/v1/jobs", content=b"{}", headers=headers).status_code == 422


def in_pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 65536):
        yield b"[" * 65536


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/nope"])
def test_a_large_body_is_refused_by_its_announced_length(untouched: TestClient, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert refusal(untouched.post(path, content=b" " * (LARGEST_BODY + 1), headers=headers)) == 413


def test_a_large_body_without_a_length_is_refused_while_it_comes(untouched: TestClient) -> None:
    headers = {"Content-Type": "application/json"}
    assert refusal(untouched.post("/api/v1/jobs", content=in_pieces(2 * LARGEST_BODY), headers=headers)) == 413


def test_a_length_that_is_no_number_is_refused(untouched: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "-5"}
    assert refusal(untouched.post("/api/v1/jobs", content=b"{}", headers=headers)) == 400
