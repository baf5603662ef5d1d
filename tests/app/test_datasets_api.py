"""/api/v1/datasets, and jobs on what was uploaded there."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient
from trained import TINY

from app import database, datasets, gate, jobs, validations
from app.callers import Caller
from app.main import create_app
from app.settings import Settings
from models.data import formats
from models.data.preview import preview

TABLE = b"a,b,label\n" + b"".join(b"%d,%d,%d\n" % (n, n * n % 7, n % 3) for n in range(60))
CSV = {"Content-Type": "text/csv"}
PATH = "/api/v1/datasets"


@pytest.fixture
def db(sqlite: Settings) -> Iterator[Engine]:
    made = database.engine(sqlite)
    yield made
    made.dispose()


def upload(client: TestClient, data: bytes = TABLE, name: str = "made", **asked: str) -> dict[str, Any]:
    response = client.post(PATH, params={"name": name, **asked}, content=data, headers=CSV)
    assert response.status_code in (200, 201), response.text
    answer: dict[str, Any] = response.json()
    return answer


def read(db: Engine, folder: Path, data: bytes = TABLE) -> None:
    """As a worker does."""
    held = validations.claim(db, "one", database.now(db), 60.0)
    assert held is not None
    (folder / "read").write_bytes(data)
    arrays = formats.read(folder / "read", held.name, "csv", held.label, 2**20)
    validations.accept(db, held, "csv", preview(held.name, arrays))


def refusal(response: Any) -> int:
    assert response.headers["content-type"] == "application/problem+json"
    return int(response.status_code)


def job(**data: Any) -> dict[str, Any]:
    return TINY | {"data": {"kind": "upload", **data}}


def test_an_upload_tells_where_it_is_and_what_it_hashed(client: TestClient) -> None:
    response = client.post(PATH, params={"name": "made"}, content=TABLE, headers=CSV)
    made = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"{PATH}/{made['id']}"
    assert (made["name"], made["size"], made["state"]) == ("made", len(TABLE), "uploaded")
    assert made["sha256"] == hashlib.sha256(TABLE).hexdigest()
    assert client.get(response.headers["Location"]).json() == made
    assert client.get(PATH).json() == {"items": [made], "next_cursor": None}


def test_the_same_again_is_the_same_and_another_is_a_conflict(client: TestClient) -> None:
    made = upload(client)
    again = client.put(PATH, params={"name": "made"}, content=TABLE)
    assert (again.status_code, again.json()) == (200, made)
    other = client.post(PATH, params={"name": "made"}, content=TABLE[:-8], headers=CSV)
    assert refusal(other) == 409
    assert "belongs to another data set" in other.json()["detail"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 101, "é", "a\n", "a\x00"])
def test_a_name_that_is_no_plain_word_is_refused(untouched: TestClient, name: str) -> None:
    assert refusal(untouched.post(PATH, params={"name": name}, content=TABLE, headers=CSV)) == 422
    assert untouched.get(PATH).json()["items"] == []


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_form_of_another_site_could_send_is_refused(untouched: TestClient, kind: str) -> None:
    response = untouched.post(PATH, params={"name": "made"}, content=TABLE, headers={"Content-Type": kind})
    assert refusal(response) == 415
    assert "application/octet-stream or text/csv or application/zip" in response.json()["detail"]


def test_other_routes_still_take_json_alone(untouched: TestClient) -> None:
    for path in ("/api/v1/jobs", f"{PATH}/", f"{PATH}/x"):
        assert refusal(untouched.post(path, content=b"{}", headers=CSV)) == 415


def test_an_empty_body_is_refused(untouched: TestClient) -> None:
    assert refusal(untouched.post(PATH, params={"name": "made"}, headers=CSV)) == 422


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 65536):
        yield bytes(65536)


def test_a_file_beyond_the_limit_is_refused_however_it_is_sent_and_nothing_is_kept(sqlite: Settings) -> None:
    with TestClient(
        create_app(sqlite.model_copy(update={"largest_upload": 2**20})), base_url="http://127.0.0.1:8000"
    ) as client:
        for body in (bytes(2**20 + 1), pieces(2**20 + 1)):
            assert refusal(client.post(PATH, params={"name": "made"}, content=body, headers=CSV)) == 413
        assert client.get(PATH).json()["items"] == []
        assert client.post(PATH, params={"name": "made"}, content=pieces(2**20), headers=CSV).status_code == 201


def test_bytes_beyond_the_owners_share_are_refused_with_the_numbers(sqlite: Settings) -> None:
    with TestClient(
        create_app(sqlite.model_copy(update={"quota_storage": 1000})), base_url="http://127.0.0.1:8000"
    ) as client:
        upload(client)
        over = client.post(PATH, params={"name": "more"}, content=bytes(900), headers=CSV)
        assert refusal(over) == 413
        assert f"your data sets have {len(TABLE)} bytes, and may have 1,000 together" in over.json()["detail"]


def test_a_deleted_data_set_is_gone(client: TestClient) -> None:
    made = upload(client)
    assert client.delete(f"{PATH}/{made['id']}").status_code == 204
    for response in (client.get(f"{PATH}/{made['id']}"), client.delete(f"{PATH}/{made['id']}")):
        assert refusal(response) == 404


def test_a_job_records_the_hash_that_it_trains_on(client: TestClient, db: Engine, tmp_path: Path) -> None:
    made = upload(client)
    read(db, tmp_path)
    for data in ({"name": "made"}, {"id": made["id"]}):
        response = client.post("/api/v1/jobs", json=job(**data, limit=30))
        assert response.status_code == 201, response.text
        spec = response.json()["spec"]["data"]
        known = {"name": "made", "id": made["id"], "sha256": made["sha256"], "format": "csv", "label": "label"}
        assert spec.items() >= known.items()
        problem = jobs.get(db, response.json()["id"]).problem
        assert (problem["data_hash"], problem["input_shape"], problem["classes"]) == (made["sha256"], [2], 3)
        assert problem["samples"] == 30
        again = client.post("/api/v1/jobs", json=TINY | {"data": spec})
        assert again.json()["spec"]["data"] == spec, "a job may be sent again as it is shown"


def test_a_job_needs_a_data_set_that_is_there_read_and_accepted(client: TestClient, db: Engine, tmp_path: Path) -> None:
    assert refusal(client.post("/api/v1/jobs", json=job(name="made"))) == 404
    assert refusal(client.post("/api/v1/jobs", json=job(id="0" * 32))) == 404
    made = upload(client)
    early = client.post("/api/v1/jobs", json=job(name="made"))
    assert refusal(early) == 409
    assert "was not read yet" in early.json()["detail"]
    held = validations.claim(db, "one", database.now(db), 60.0)
    assert held is not None
    validations.refuse(db, held, "it is a bomb")
    refused = client.post("/api/v1/jobs", json=job(name="made"))
    assert refusal(refused) == 422
    assert refused.json()["errors"][0]["field"] == "data.name"
    assert "it is a bomb" in refused.json()["detail"]
    assert client.get(f"{PATH}/{made['id']}").json()["error"] == "it is a bomb"
    assert client.get("/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data"),
        ({"name": "made", "sha256": "a" * 64}, "data.sha256"),
        ({"name": "made", "sha256": "../../etc/passwd"}, "data"),
        ({"name": "made", "format": "npz"}, "data.format"),
        ({"name": "made", "label": "a"}, "data.label"),
        ({"name": "made", "limit": 100}, "data.limit"),
        ({"name": "made", "validation": 0.99}, "data.validation"),
        ({"name": "made", "folder": "/etc"}, "data.folder"),
    ],
)
def test_what_does_not_fit_the_data_set_is_refused_with_the_field(
    client: TestClient, db: Engine, tmp_path: Path, data: dict[str, Any], field: str
) -> None:
    upload(client)
    read(db, tmp_path)
    response = client.post("/api/v1/jobs", json=job(**data))
    assert refusal(response) == 422
    assert response.json()["errors"][0]["field"] == field


def test_a_data_set_is_kept_while_a_job_needs_it(client: TestClient, db: Engine, tmp_path: Path) -> None:
    made = upload(client)
    read(db, tmp_path)
    queued = client.post("/api/v1/jobs", json=job(name="made")).json()
    refused = client.delete(f"{PATH}/{made['id']}")
    assert refusal(refused) == 409
    assert queued["id"] in refused.json()["detail"]
    client.post(f"/api/v1/jobs/{queued['id']}/cancel")
    assert client.delete(f"{PATH}/{made['id']}").status_code == 204
    assert client.get(f"/api/v1/jobs/{queued['id']}").json()["spec"]["data"]["sha256"] == made["sha256"]


def test_another_owners_data_sets_are_as_if_there_were_none(
    client: TestClient, db: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = upload(client)
    read(db, tmp_path)
    monkeypatch.setattr(gate, "LOCAL", Caller("bob", "submit"))
    assert client.get(PATH).json()["items"] == []
    unknown = client.get(f"{PATH}/{'0' * 32}").json()["detail"]
    for response in (
        client.get(f"{PATH}/{made['id']}"),
        client.delete(f"{PATH}/{made['id']}"),
        client.post("/api/v1/jobs", json=job(id=made["id"])),
    ):
        assert refusal(response) == 404
        assert response.json()["detail"] == unknown.replace("0" * 32, made["id"])
    assert refusal(client.post("/api/v1/jobs", json=job(name="made"))) == 404
    assert upload(client)["owner"] == "bob"
    monkeypatch.setattr(gate, "LOCAL", Caller("bob", "read"))
    assert len(client.get(PATH).json()["items"]) == 1
    assert refusal(client.post(PATH, params={"name": "x"}, content=TABLE, headers=CSV)) == 403
    assert refusal(client.delete(f"{PATH}/{datasets.named(db, 'bob', 'made').id}")) == 403
