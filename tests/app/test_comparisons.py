"""A comparison at the same capacity, from submission to page, trained in this process."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from by_hand import Hand
from rich.console import Console
from starlette.testclient import TestClient
from trained import train

from app import advance, database
from app.printing.report import result
from app.settings import Settings

COMPARISON: dict[str, Any] = {
    "name": "a comparison",
    "data": {"kind": "bundled", "name": "digits", "limit": 200},
    "network": {"kind": "mlp", "widths": [16]},
    "rewiring": {"kind": "static"},
    "training": {"epochs": 1, "batch_size": 64},
    "search": {
        "space": {"kind": "sc_sdc", "widths": [0.25, 0.5], "activations": ["relu", "silu"], "seeds": 1},
        "trials": 12,
    },
    "confirm": None,
}


@pytest.fixture
def hand(sqlite: Settings) -> Iterator[Hand]:
    db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
    yield Hand(db, storage, "one")
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()


def test_every_training_is_a_trial_and_the_job_ends_with_both_tables(client: TestClient, hand: Hand) -> None:
    job_id = client.post("/api/v1/jobs", json=COMPARISON).json()["id"]
    for _ in range(12):
        train(hand, hand.take())
    assert hand.claim() is None
    advance.advance(hand.db, job_id)
    assert client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "completed"
    report = client.get(f"/api/v1/jobs/{job_id}/report").json()
    assert [row["state"] for row in report["trials"]] == ["complete"] * 12
    assert [row["pairs"] for row in report["sc_sdc"]["tests"]] == [2, 2, 2, 2]
    assert report["verdict"].startswith("No verdict is possible with 2 pairs")
    page = client.get(f"/ui/jobs/{job_id}").text
    for words in (
        "Tests by regime",
        "Effective gradient flow, means",
        "same_signal",
        "silu",
        report["trials"][0]["label"],
    ):
        assert words in page
    assert 'id="pareto"' not in page
    console = Console(width=200, file=StringIO())
    console.print(result(report))
    printed = console.file.getvalue()
    assert "Sparse above dense, equal capacity in every layer" in printed
    assert printed.count("same_dist") == 4


def test_a_comparison_that_cannot_be_names_its_fault(client: TestClient) -> None:
    wrong = COMPARISON | {"search": COMPARISON["search"] | {"trials": 13}}
    answer = client.post("/api/v1/jobs", json=wrong)
    assert answer.status_code == 422
    assert "this comparison has 12 trainings" in answer.text
