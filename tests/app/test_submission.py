"""Jobs submitted after the pattern of others, and changed, over REST."""

from collections.abc import Callable
from typing import Any

import pytest
from by_hand import Hand, outcome, spec
from sqlalchemy import Engine
from starlette.testclient import TestClient
from trained import TINY

from app import jobs, runs, submission
from app.callers import READ, SUBMIT, Caller
from app.settings import Settings
from search.faults import InvalidSpec
from search.spec import dump

JOBS = "/api/v1/jobs"


def made(client: TestClient, **changes: Any) -> str:
    return str(client.post(JOBS, json=TINY | changes).json()["links"]["self"])


def refusal(response: Any, status: int) -> list[dict[str, Any]]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    return list(response.json().get("errors", []))


def test_a_clone_without_changes_is_the_same_job_anew(client: TestClient) -> None:
    link = made(client)
    response = client.post(f"{link}/clone")
    clone = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == clone["links"]["self"] != link
    assert (clone["state"], clone["spec"]) == ("queued", client.get(link).json()["spec"])


def test_a_clone_has_the_fields_that_are_given_in_place_of_the_old_ones(client: TestClient) -> None:
    changes = {"seed": 9, "search": {"sampler": {"kind": "nsga2", "population": 8}}, "confirm": None}
    clone = client.post(f"{made(client)}/clone", json=changes).json()["spec"]
    assert (clone["seed"], clone["confirm"], clone["name"]) == (9, None, TINY["name"])
    assert clone["search"]["sampler"] == {"kind": "nsga2", "population": 8}
    assert clone["search"]["trials"] == 5
    assert clone["search"]["space"] == {"kind": "free", "low": 0.1, "high": 0.5, "scale": "log"}


def test_another_kind_leaves_nothing_of_the_old_one() -> None:
    budget = submission.merged(dump(spec()), {"search": {"space": {"kind": "budget", "density": 0.1}}})
    assert dump(budget)["search"]["space"]["density"] == 0.1


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"nmae": "x"}, "nmae"), ({"seed": -1}, "seed"), ({"search": {"trials": 0}}, "search.trials")],
)
def test_a_clone_is_refused_like_any_job_and_nothing_is_made(
    client: TestClient, changes: dict[str, Any], field: str
) -> None:
    [error] = refusal(client.post(f"{made(client)}/clone", json=changes), 422)
    assert error["field"] == field
    assert len(client.get(JOBS).json()["items"]) == 1


def test_a_clone_that_its_data_refuses_is_not_made(client: TestClient) -> None:
    changes = {"network": {"keep_dense": ["fc9"]}}
    [error] = refusal(client.post(f"{made(client)}/clone", json=changes), 422)
    assert error["field"] == "network.keep_dense"


def test_the_same_key_and_changes_make_one_clone(client: TestClient) -> None:
    link, key = made(client), {"Idempotency-Key": "k"}
    answers = [client.post(f"{link}/clone", json={"seed": 3}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert client.post(f"{link}/clone", json={"seed": 4}, headers=key).status_code == 422


def test_a_job_is_paused_resumed_and_listed_as_such(client: TestClient) -> None:
    link = made(client)
    paused = client.post(f"{link}/pause")
    assert (paused.status_code, paused.json()["state"]) == (202, "paused")
    assert [job["state"] for job in client.get(JOBS, params={"state": "paused"}).json()["items"]] == ["paused"]
    resumed = client.post(f"{link}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (202, "queued")
    refusal(client.post(f"{link}/resume"), 409)
    client.post(f"{link}/cancel")
    refusal(client.post(f"{link}/pause"), 409)


def test_a_job_is_changed_and_a_refusal_names_the_field(client: TestClient) -> None:
    link = made(client)
    changed = client.patch(link, json={"trials": 9, "priority": 2, "max_parallel": 3})
    assert changed.status_code == 200
    assert (changed.json()["priority"], changed.json()["progress"]["trials"]["asked"]) == (2, 9)
    [error] = refusal(client.patch(link, json={"name": "other"}), 422)
    assert (error["field"], error["value"]) == ("name", "other")
    assert "priority, max_parallel, trials" in error["message"]
    [error] = refusal(client.patch(link, json={"trials": 8}), 422)
    assert (error["field"], error["value"]) == ("trials", 8)
    [error] = refusal(client.patch(link, json=[1]), 422)
    assert client.patch(link, json={}).json() == changed.json(), "nothing asked, nothing changed"
    client.post(f"{link}/cancel")
    refusal(client.patch(link, json={"trials": 12}), 409)


def test_the_changes_are_described(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"]["/api/v1/jobs/{job_id}"]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {"priority", "max_parallel", "trials"}
    assert body["additionalProperties"] is False


Hands = Callable[..., Hand]
ANN, BOB = Caller("ann", SUBMIT), Caller("bob", SUBMIT)


def queue(db: Engine, caller: Caller, **search: Any) -> jobs.Job:
    return submission.submit(db, Settings(), spec(**search), caller)[0]


def test_a_job_starts_with_the_best_network_of_an_earlier_one_and_confirms_it(db: Engine, hand: Hands) -> None:
    first, one = queue(db, ANN, trials=3), hand()
    for loss in (0.5, 0.1, 0.4):
        one.do(result=outcome(loss))
    best = jobs.get(db, first.id)
    assert best.report is not None
    confirm = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": []}
    second = queue(db, ANN, trials=6, warm_start=[first.id], confirm=confirm)
    claim = one.take()
    one.begin(claim)
    [point] = [run for run in runs.of_job(db, second.id) if run.ordinal == 0]
    assert point.assignment is not None
    assert point.assignment["label"] == f"start:job {first.id[:8]}"
    assert point.assignment["counts"] == best.report["trials"][1]["nnz_asked"]
    one.finish(claim, result=outcome(0.3))
    for _ in range(5):
        one.do(result=outcome(0.6))
    labels = {run.assignment["label"] for run in runs.of_job(db, second.id, "shortlist") if run.assignment}
    assert f"start:job {first.id[:8]}" in labels
    assert len(one.trials(second)) == 6


@pytest.mark.parametrize("caller", [BOB, Caller("bob", READ)])
def test_a_job_of_somebody_else_is_none_to_start_from(db: Engine, hand: Hands, caller: Caller) -> None:
    first = queue(db, ANN, trials=1)
    hand().do()
    with pytest.raises(InvalidSpec, match="no job has this id") as refused:
        queue(db, caller, warm_start=[first.id])
    assert refused.value.faults[0]["field"] == "search.warm_start.0"
    queue(db, ANN, warm_start=[first.id])


def test_a_job_that_is_not_there_or_has_found_nothing_is_none_to_start_from(db: Engine) -> None:
    with pytest.raises(InvalidSpec, match="no job has this id"):
        queue(db, ANN, warm_start=["0" * 32])
    with pytest.raises(InvalidSpec, match="no complete trial"):
        queue(db, ANN, warm_start=[queue(db, ANN).id])
    assert len(jobs.page(db)[0]) == 1
