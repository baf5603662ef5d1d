"""What each holder of a key gets from the server, and what nobody gets without one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from by_hand import Hand
from keyed import Keyed, keyed
from sqlalchemy import update
from starlette.testclient import TestClient
from trained import TINY

from app import database, keys, tables
from app.callers import LOCAL, SUBMIT
from app.database import now
from app.main import create_app
from app.settings import Settings

UNKNOWN = "0" * 32
OF_A_JOB = ("", "/runs", "/report", "/trials", "/pareto", "/events", "/topology-distance?a=0&b=1")
CHANGES = ("cancel", "share", "unshare")


@pytest.fixture
def server(sqlite: Settings) -> Iterator[Keyed]:
    with keyed(sqlite) as made:
        yield made


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Every path that the server has, of the API and of pages and dashboard."""
    document = create_openapi(client)
    of_api = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    pages = [
        "/",
        "/ui",
        f"/ui/jobs/{UNKNOWN}",
        "/dashboard",
        "/static/bundle.js",
        "/api/studies",
        "/api/meta",
        "/csv/1",
    ]
    return [
        *of_api,
        *(("GET", page) for page in pages),
        ("POST", f"/ui/jobs/{UNKNOWN}/cancel"),
        ("GET", "/openapi.json"),
    ]


def create_openapi(client: TestClient) -> dict[str, Any]:
    app: Any = client.app
    document: dict[str, Any] = app.openapi()
    return document


OPEN = {"/healthz", "/readyz"}


def test_nothing_but_health_and_login_is_to_be_had_without_a_key(server: Keyed) -> None:
    server.client.cookies.clear()
    for method, path in routes(server.client):
        if path in OPEN:
            assert server.client.request(method, path).status_code == 200
            continue
        answer = server.client.request(method, path.replace("{job_id}", UNKNOWN), follow_redirects=False)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/ui/login?next="), path
        else:
            refusal(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer", path


@pytest.mark.parametrize(
    "shown",
    ["Bearer x", "Bearer", "", "Basic cm9vdDpyb290", "Bearer snas_00000000_" + "0" * 64, "bearer\tx", "Bearer \xff"],
)
def test_what_is_no_key_is_refused_and_noted(server: Keyed, shown: str) -> None:
    headers = {"Authorization": shown.encode("latin-1")}
    answer = server.client.get("/api/v1/jobs", headers=headers)  # type: ignore[arg-type]
    refusal(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert server.audited()[-1] == (None, "key.refused", "/api/v1/jobs")


def test_revoked_and_expired_keys_are_refused_from_the_next_request_on(server: Keyed, sqlite: Settings) -> None:
    assert server.get("ada", "/api/v1/jobs").status_code == 200
    [hers] = [key for key in server.get("root", "/api/v1/keys").json()["items"] if key["name"] == "ada"]
    assert server.ask("root", "POST", f"/api/v1/keys/{hers['prefix']}/revoke").json()["revoked"] is not None
    refusal(server.get("ada", "/api/v1/jobs"), 401)
    db = database.engine(sqlite)
    with db.begin() as connection:
        connection.execute(update(tables.api_keys).where(tables.api_keys.c.name == "bob").values(expires=now(db) - 1))
    db.dispose()
    refusal(server.get("bob", "/api/v1/jobs"), 401)


def test_a_foreign_job_is_answered_exactly_as_one_that_is_none(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    for holder in ("bob",):
        for path in OF_A_JOB:
            foreign = server.get(holder, f"/api/v1/jobs/{job}{path}")
            unknown = server.get(holder, f"/api/v1/jobs/{UNKNOWN}{path}")
            assert (foreign.status_code, unknown.status_code) == (404, 404), path
            assert foreign.text.replace(job, UNKNOWN) == unknown.text
            assert foreign.headers["content-type"] == unknown.headers["content-type"]
        for change in CHANGES:
            refusal(server.ask(holder, "POST", f"/api/v1/jobs/{job}/{change}"), 404)
        refusal(server.get(holder, f"/ui/jobs/{job}"), 404)
        assert server.get(holder, "/api/v1/jobs").json()["items"] == []
        assert "tiny digits" not in server.get(holder, "/ui").text
    assert server.get("ada", f"/api/v1/jobs/{job}").json()["state"] == "queued"


@pytest.mark.parametrize("guess", ["0", "' OR '1'='1", "..", "%00", "%2e%2e%2f", "a" * 5000, "é", "{job_id}"])
def test_a_guessed_id_finds_nothing(server: Keyed, guess: str) -> None:
    server.submit("ada", TINY)
    refusal(server.get("bob", f"/api/v1/jobs/{guess}/report"), 404)


def test_a_shared_job_is_seen_by_all_and_changed_by_its_owner(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    assert server.ask("ada", "POST", f"/api/v1/jobs/{job}/share").json()["shared"]
    assert server.get("bob", f"/api/v1/jobs/{job}").json()["owner"] == "ada"
    assert [each["id"] for each in server.get("bob", "/api/v1/jobs").json()["items"]] == [job]
    for change in CHANGES:
        assert "belongs to 'ada'" in refusal(server.ask("bob", "POST", f"/api/v1/jobs/{job}/{change}"), 403)
    assert not server.ask("ada", "POST", f"/api/v1/jobs/{job}/unshare").json()["shared"]
    refusal(server.get("bob", f"/api/v1/jobs/{job}"), 404)


def test_a_scope_that_is_too_small_is_named(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    assert server.get("reader", f"/api/v1/jobs/{job}").status_code == 200
    for path in ("/api/v1/jobs", f"/api/v1/jobs/{job}/cancel"):
        assert "needs the scope 'submit'" in refusal(server.ask("reader", "POST", path, json=TINY), 403)
    asked = {"owner": "ada", "name": "more", "scope": "admin"}
    assert "needs the scope 'admin'" in refusal(server.ask("ada", "POST", "/api/v1/keys", json=asked), 403)
    refusal(server.get("ada", "/api/v1/audit"), 403)
    assert len(server.get("root", "/api/v1/keys").json()["items"]) == 4


def test_a_key_is_made_by_an_administrator_and_shown_once(server: Keyed) -> None:
    asked = {"owner": "eve", "name": "laptop", "days": 30}
    answer = server.ask("root", "POST", "/api/v1/keys", json=asked)
    made = answer.json()
    assert (answer.status_code, made["scope"]) == (201, "submit")
    assert answer.headers["cache-control"] == "no-store"
    mine = server.client.get("/api/v1/keys", headers={"Authorization": f"Bearer {made['key']}"}).json()["items"]
    assert [(each["prefix"], each["owner"], each["name"]) for each in mine] == [(made["prefix"], "eve", "laptop")]
    assert "key" not in mine[0]
    assert made["key"] not in server.get("root", "/api/v1/audit").text
    assert ("root", "key.created", made["prefix"]) in server.audited()


def test_the_log_says_who_did_what_with_which_key(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    server.ask("root", "POST", f"/api/v1/jobs/{job}/cancel")
    assert server.audited()[-2:] == [("ada", "job.submitted", job), ("root", "job.cancelled", job)]
    assert server.audited(owner="ada") == [("ada", "job.submitted", job)]
    assert server.audited(action="job.cancelled") == [("root", "job.cancelled", job)]
    [entry] = server.get("root", "/api/v1/audit?action=job.submitted").json()["items"]
    assert entry["key"] == server.keys["ada"].split("_")[1]
    assert entry["address"] == "testclient"


def test_the_same_idempotency_key_of_two_owners_makes_two_jobs(server: Keyed) -> None:
    key = {"Idempotency-Key": "one"}
    assert server.submit("ada", TINY, headers=key) != server.submit("bob", TINY, headers=key)


def test_quotas_and_rates_are_per_owner_and_per_key_and_say_so(sqlite: Settings) -> None:
    settings = sqlite.model_copy(update={"quota_jobs": 1, "requests_per_minute": 5})
    with keyed(settings) as server:
        server.submit("ada", TINY)
        detail = refusal(server.ask("ada", "POST", "/api/v1/jobs", json=TINY), 403)
        assert detail == "unfinished jobs: 'ada' has 1, this would add 1; allowed are 1"
        server.submit("bob", TINY)
        answers = [server.get("ada", "/api/v1/jobs") for _ in range(4)]
        assert [each.status_code for each in answers[:3]] == [200] * 3
        assert "SNAS_REQUESTS_PER_MINUTE" in refusal(answers[3], 429)
        assert answers[3].headers["retry-after"] == "12"
        assert server.get("bob", "/api/v1/jobs").status_code == 200


def test_guessing_at_keys_from_one_address_is_slowed_and_the_right_key_is_not(server: Keyed) -> None:
    wrong = {"Authorization": "Bearer snas_00000000_" + "0" * 64}
    answers = [server.client.get("/api/v1/jobs", headers=wrong).status_code for _ in range(40)]
    assert answers == [401] * 30 + [429] * 10
    assert server.get("ada", "/api/v1/jobs").status_code == 200
    assert server.client.post("/ui/login", data={"key": "x"}).status_code == 429


def test_the_dashboard_shows_each_caller_the_studies_of_their_jobs(sqlite: Settings) -> None:
    with keyed(sqlite) as server:
        hers, _his = server.submit("ada", TINY | {"name": "hers"}), server.submit("bob", TINY | {"name": "his"})
        db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
        hand = Hand(db, storage, "one")
        for _ in range(2):
            hand.begin(hand.take())
        storage.remove_session()
        storage.engine.dispose()
        db.dispose()
        links = {
            each["name"]: each["links"]["dashboard"].rpartition("/")[2]
            for each in server.get("root", "/api/v1/jobs").json()["items"]
        }

        def studies(holder: str) -> list[str]:
            found = server.get(holder, "/api/studies").json()["study_summaries"]
            return sorted(str(each["study_id"]) for each in found)

        assert studies("root") == sorted(links.values())
        assert studies("ada") == [links["hers"]]
        for path in ("/api/studies/{}", "/api/studies/{}/param_importances", "/csv/{}", "/artifacts/{}/00"):
            refusal(server.get("ada", path.format(links["his"])), 404)
        for path in (
            f"/api/studies/-{links['his']}",
            f"/api/studies/0{links['his']}",
            "/api/studies/",
            "/api/studiesx",
        ):
            refusal(server.get("ada", path), 404)
        refusal(server.get("ada", f"/api/compare-studies/plot/edf?study_ids%5B%5D={links['his']}"), 404)
        assert server.get("ada", f"/api/studies/{links['hers']}").status_code == 200
        assert server.get("root", f"/api/studies/{links['his']}").status_code == 200
        assert server.get("ada", f"/dashboard/studies/{links['hers']}").status_code == 200
        server.ask("ada", "POST", f"/api/v1/jobs/{hers}/share")
        assert studies("bob") == sorted(links.values())


def test_a_first_key_makes_an_open_server_ask_at_once_and_a_secret_makes_it_ask_from_the_start(
    sqlite: Settings, tmp_path: Path
) -> None:
    with TestClient(create_app(sqlite), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/api/v1/jobs").status_code == 200
        db = database.engine(sqlite)
        _, text = keys.create(db, "ada", SUBMIT, "first", LOCAL)
        db.dispose()
        assert client.get("/api/v1/jobs").status_code == 401
        assert client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {text}"}).status_code == 200

    secret = tmp_path / "secret"
    secret.write_text(keys.generate() + "\n")
    contained = Settings(state_dir=tmp_path / "contained", first_key_file=secret)
    for _ in range(2):  # a restart finds it there
        with TestClient(create_app(contained), base_url="http://127.0.0.1:8000") as client:
            assert client.get("/api/v1/jobs").status_code == 401
            headers = {"Authorization": f"Bearer {secret.read_text().strip()}"}
            assert [key["scope"] for key in client.get("/api/v1/keys", headers=headers).json()["items"]] == ["admin"]


def test_every_answer_fences_the_browser_in(server: Keyed) -> None:
    paths = (
        "/api/v1/jobs",
        "/ui",
        "/nothing",
        "/dashboard",
        "/api/studies",
        "/ui/login",
        "/openapi.json",
        "/ui/jobs/x",
    )
    for path in paths:
        headers = server.get("root", path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'"), path
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline' " not in policy.partition("script-src")[2].partition(";")[0]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store", path
        assert "strict-transport-security" not in headers
    secure = TestClient(server.client.app, base_url="https://127.0.0.1:8000")
    assert "max-age" in secure.get("/healthz").headers["strict-transport-security"]


def test_what_no_route_expected_is_fenced_in_too(server: Keyed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.page", lambda *_, **__: 1 / 0)
    quiet = TestClient(server.client.app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    answer = quiet.get("/api/v1/jobs", headers=server.headers("ada"))
    refusal(answer, 500)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "division" not in json.dumps(answer.json())
