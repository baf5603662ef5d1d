"""REST, over a real state directory."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient
from trained import TINY

from app import events

JSON = {"Content-Type": "application/json"}


def submit(client: TestClient, **changes: Any) -> dict[str, Any]:
    response = client.post("/api/v1/jobs", json=TINY | changes)
    assert response.status_code == 201
    job: dict[str, Any] = response.json()
    return job


def the_job(client: TestClient) -> dict[str, Any]:
    [job] = client.get("/api/v1/jobs").json()["items"]
    return dict(job)


def test_a_submitted_job_is_queued_and_tells_where_it_is(client: TestClient) -> None:
    response = client.post("/api/v1/jobs", json=TINY)
    job = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == job["links"]["self"] == f"/api/v1/jobs/{job['id']}"
    assert job["state"] == "queued"
    assert job["spec"]["search"]["sampler"] == {"kind": "tpe"}, "every default is written out"
    assert job["progress"]["trials"] == {"asked": 5, "done": 0, "running": 0, "pruned": 0, "failed": 0}
    assert client.get(response.headers["Location"]).json() == job


def test_the_same_key_and_body_make_one_job(client: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    first = client.post("/api/v1/jobs", json=TINY, headers=key)
    turned_around = json.dumps(dict(reversed(TINY.items())))
    again = client.post("/api/v1/jobs", content=turned_around, headers=key | JSON)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Location"] == first.headers["Location"]
    assert len(client.get("/api/v1/jobs").json()["items"]) == 1


def test_the_same_key_with_another_body_is_refused(client: TestClient) -> None:
    key = {"Idempotency-Key": "one"}
    client.post("/api/v1/jobs", json=TINY, headers=key)
    assert client.post("/api/v1/jobs", json=TINY | {"seed": 5}, headers=key).status_code == 422
    assert len(client.get("/api/v1/jobs").json()["items"]) == 1


def test_cursors_lead_through_all_jobs_newest_first(client: TestClient) -> None:
    made = [submit(client, name=f"job {number}")["id"] for number in range(5)]
    found, cursor = [], None
    while True:
        page = client.get("/api/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [job["id"] for job in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == made[::-1]


def test_jobs_are_filtered_by_state_and_name(client: TestClient) -> None:
    submit(client, name="fashion")
    cancelled = submit(client, name="digits 100%")
    client.post(f"{cancelled['links']['self']}/cancel")

    def names(**asked: str) -> list[str]:
        return [job["name"] for job in client.get("/api/v1/jobs", params=asked).json()["items"]]

    assert names(state="queued") == ["fashion"]
    assert names(q="FASH") == ["fashion"]
    assert names(q="%") == ["digits 100%"], "text is text, not a pattern"
    assert names(state="queued", q="digits") == []


def test_a_completed_job_shows_its_progress_report_trials_and_front(trained: TestClient) -> None:
    job = the_job(trained)
    report = trained.get(job["links"]["report"]).json()
    assert job["state"] == "completed"
    assert job["progress"]["trials"]["done"] == 5
    assert job["progress"]["final"]["done"] == job["progress"]["final"]["asked"] > 0
    assert job["progress"]["seconds_left"] is None
    assert job["progress"]["best"]["loss"] == min(row["loss"] for row in report["trials"])
    assert trained.get(job["links"]["trials"]).json() == {"items": report["trials"]}
    assert trained.get(job["links"]["pareto"]).json() == {"items": report["pareto"]}
    assert report["verdict"]


def test_the_report_of_a_queued_job_is_empty_and_without_verdict(client: TestClient) -> None:
    report = client.get(submit(client)["links"]["report"]).json()
    assert (report["trials"], report["pareto"]) == ([], [])
    assert report["confirmation"] is report["verdict"] is None


def test_the_links_of_a_completed_job_all_lead_somewhere(trained: TestClient) -> None:
    for name, link in the_job(trained)["links"].items():
        assert trained.get(link).status_code == 200, name


def test_cancelling_a_queued_job_ends_it(client: TestClient) -> None:
    job = submit(client)
    assert client.post(f"{job['links']['self']}/cancel").status_code == 202
    assert client.get(job["links"]["self"]).json()["state"] == "cancelled"


def test_cancelling_an_ended_job_is_a_conflict(trained: TestClient) -> None:
    assert trained.post(f"{the_job(trained)['links']['self']}/cancel").status_code == 409


def test_the_events_of_an_ended_job_come_in_order_and_end(trained: TestClient) -> None:
    told = read_events(trained, {})
    types = [each["event"] for each in told]
    assert types[0] == "job.submitted"
    assert types[-1] in events.ENDS
    assert types.count("run.epoch") > 10
    numbers = [int(each["id"]) for each in told]
    assert numbers == sorted(set(numbers))
    assert all("at" in json.loads(each["data"]) for each in told)


def test_events_resume_after_the_last_one_seen(trained: TestClient) -> None:
    everything = read_events(trained, {})
    middle = everything[7]["id"]
    assert read_events(trained, {"Last-Event-ID": middle}) == everything[8:]
    assert read_events(trained, {"Last-Event-ID": everything[-1]["id"]}) == []
    assert read_events(trained, {}, after=middle) == everything[8:]


def read_events(client: TestClient, headers: dict[str, str], **asked: str) -> list[dict[str, str]]:
    response = client.get(the_job(client)["links"]["events"], headers=headers, params=asked)
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_server_is_healthy_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    assert client.get("/version").json()["version"]


def test_the_body_of_a_submission_is_described_as_the_job_spec(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/JobSpec"}
    network = document["components"]["schemas"]["JobSpec"]["properties"]["network"]
    assert network["discriminator"]["propertyName"] == "kind"
    assert "VGG" in json.dumps(network)


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/healthz", "/ui"])
def test_the_allowed_methods_of_a_path_are_all_named(client: TestClient, path: str) -> None:
    allowed = client.put(path, json={}).headers["Allow"]
    assert allowed == ("GET, POST" if path == "/api/v1/jobs" else "GET")
