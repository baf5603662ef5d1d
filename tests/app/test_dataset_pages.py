"""The pages of data sets as a browser without JavaScript sees them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient
from test_datasets_api import CSV, PATH, job, read, upload
from test_pages import Page
from test_pages import read as seen

from app import database, validations
from app.settings import Settings


@pytest.fixture
def db(sqlite: Settings) -> Iterator[Engine]:
    made = database.engine(sqlite)
    yield made
    made.dispose()


def test_the_list_leads_to_each_data_set_and_the_header_to_the_list(
    client: TestClient, db: Engine, tmp_path: Path
) -> None:
    assert "There is no data set yet" in seen(client, "/ui/datasets").text
    made = upload(client)
    assert "data-poll" in client.get("/ui/datasets").text, "it is still to be read"
    read(db, tmp_path)
    shown = seen(client, "/ui/datasets")
    assert "data-poll" not in client.get("/ui/datasets").text
    assert "made csv ready 60 2 3" in shown.text
    links = [each["href"] for each in shown.all("a")]
    assert f"/ui/datasets/{made['id']}" in links
    assert "/ui/datasets" in [each["href"] for each in seen(client, "/ui").all("a")]


def test_a_data_set_shows_what_is_in_it(client: TestClient, db: Engine, tmp_path: Path) -> None:
    made = upload(client)
    read(db, tmp_path)
    text = seen(client, f"/ui/datasets/{made['id']}").text
    for words in ("Samples 60", "Shape 2 float64", "Classes 3 the rarest has 20", "0 to 59", made["sha256"]):
        assert words in text


def test_why_one_was_refused_is_shown_as_text(client: TestClient, db: Engine) -> None:
    made = upload(client)
    held = validations.claim(db, "one", database.now(db), 60.0)
    assert held is not None
    validations.refuse(db, held, "<script>alert(1)</script>")
    page = client.get(f"/ui/datasets/{made['id']}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_it_is_deleted_by_a_form_unless_a_job_needs_it(client: TestClient, db: Engine, tmp_path: Path) -> None:
    made = upload(client)
    read(db, tmp_path)
    queued = client.post("/api/v1/jobs", json=job(name="made")).json()
    path = f"/ui/datasets/{made['id']}"
    [form] = seen(client, path).all("form")
    assert (form["method"], form["action"]) == ("post", f"{path}/delete")
    refused = client.post(f"{path}/delete")
    assert refused.status_code == 409
    assert f"the job '{queued['id']}' trains on the data set" in Page(refused.text).text
    client.post(f"/api/v1/jobs/{queued['id']}/cancel")
    gone = client.post(f"{path}/delete", follow_redirects=False)
    assert (gone.status_code, gone.headers["Location"]) == (303, "/ui/datasets")
    assert client.get(path).status_code == 404
    assert client.get(PATH).json()["items"] == []
    assert client.post(PATH, params={"name": "made"}, content=b"x", headers=CSV).status_code == 201
