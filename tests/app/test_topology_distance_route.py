"""The connections of two trials compared over REST, trained in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
from by_hand import Hand
from starlette.testclient import TestClient
from trained import TINY, train

from app import database
from app.settings import Settings


@pytest.fixture
def hand(sqlite: Settings) -> Iterator[Hand]:
    db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
    yield Hand(db, storage, "one")
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()


def begun(client: TestClient, hand: Hand, measures: list[dict[str, Any]]) -> str:
    """The address of a job of which two trials are over."""
    job_id = client.post("/api/v1/jobs", json=TINY | {"measures": measures}).json()["id"]
    for _ in range(2):
        train(hand, hand.take())
    return f"/api/v1/jobs/{job_id}"


def test_two_trials_are_compared_and_the_report_keeps_what_is_for_readers(client: TestClient, hand: Hand) -> None:
    address = begun(client, hand, [{"kind": "topology", "keep": True}])
    apart = client.get(f"{address}/topology-distance?a=0&b=1").json()
    assert (apart["a"], apart["b"]) == (0, 1)
    assert 0 < apart["distance"] <= 1
    assert apart["distance"] == pytest.approx(sum(apart["by_layer"]) / 2)
    assert client.get(f"{address}/topology-distance?a=1&b=1").json()["distance"] == 0
    fixed = client.get(f"{address}/topology-distance?a=0&b=1&output=fixed").json()
    assert fixed["by_layer"][0] == apart["by_layer"][0]
    assert fixed["by_layer"][1] >= apart["by_layer"][1]
    for row in client.get(f"{address}/report").json()["trials"]:
        assert set(row["measures"]["topology"]) == {"moved", "moved_by_layer"}


def test_trials_that_are_not_there_or_kept_nothing_are_refused(client: TestClient, hand: Hand) -> None:
    address = begun(client, hand, [{"kind": "topology"}])
    missing = client.get(f"{address}/topology-distance?a=0&b=7")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert "trial 7" in missing.json()["detail"]
    nothing = client.get(f"{address}/topology-distance?a=0&b=1")
    assert nothing.status_code == 409
    assert '"keep": true' in nothing.json()["detail"]
    assert client.get("/api/v1/jobs/none/topology-distance?a=0&b=1").status_code == 404
    assert client.get(f"{address}/topology-distance?a=0").status_code == 422
