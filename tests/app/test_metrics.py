"""What Prometheus reads."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from by_hand import LEASE, Hand
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app import database, endings, jobs, metrics
from app.main import create_app
from app.settings import Settings

Values = dict[str, float]


def read(text: str) -> Values:
    """Sample name and labels -> value."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        name + "".join(f" {key}={labels[key]}" for key in sorted(labels)): value for name, labels, value, *_ in samples
    }


@pytest.fixture
def seen(db: Engine) -> Callable[[], Values]:
    registry = metrics.registry(db)
    return lambda: read(metrics.written(registry).decode())


def test_an_empty_service_has_every_count_at_zero(seen: Callable[[], Values]) -> None:
    values = seen()
    assert set(values.values()) == {0}
    assert {f"snas_jobs state={state}" for state in (*jobs.ACTIVE, jobs.PAUSED, *jobs.ENDED)} <= values.keys()


def test_the_queue_is_what_no_worker_has_begun(
    seen: Callable[[], Values], submit: Callable[..., jobs.Job], hand: Callable[[str], Hand]
) -> None:
    submit(trials=4)
    submit(trials=2)
    hand("one").do()
    claim = hand("one").take()
    values = seen()
    assert values["snas_queue_depth"] == 6 - 2
    assert values["snas_queue_oldest_seconds"] > 0
    assert values["snas_jobs state=running"] + values["snas_jobs state=queued"] == 2
    assert values["snas_runs_open state=asking"] == 1
    assert values["snas_runs_ended_total stage=search state=complete"] == 1
    assert claim.attempt == 1


def test_a_silent_worker_is_counted_and_so_is_the_repeat(
    seen: Callable[[], Values], submit: Callable[..., jobs.Job], hand: Callable[[str], Hand], db: Engine
) -> None:
    submit(trials=1)
    one = hand("one")
    one.begin(one.take(at=database.now(db) - 2 * LEASE))
    endings.sweep(db, one.storage, max_attempts=3)
    assert seen()["snas_lease_expiries_total"] == 1
    hand("two").do()
    values = seen()
    assert values["snas_run_retries_total"] == 1
    assert values["snas_runs_ended_total stage=search state=lost"] == 1
    assert values["snas_run_seconds_count"] == 1
    assert values["snas_run_seconds_bucket le=+Inf"] == 1


def test_a_request_is_timed_under_its_route_not_its_path(client: TestClient) -> None:
    for number in range(3):
        client.get(f"/api/v1/jobs/{number:032x}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    values = read(answer.text)
    assert values["snas_http_request_seconds_count method=GET route=/api/v1/jobs/{job_id} status=404"] == 3
    assert values["snas_database_wait_seconds_count"] >= 0


def test_a_trace_of_a_request_reaches_the_provider_of_opentelemetry(
    upgraded_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    shutil.copytree(upgraded_sqlite, tmp_path / "state")
    with TestClient(create_app(Settings(state_dir=tmp_path / "state")), base_url="http://127.0.0.1:8000") as client:
        client.get("/api/v1/jobs")
    assert any("/api/v1/jobs" in span.name for span in exporter.get_finished_spans())


def test_the_version_names_what_results_depend_on(untouched: TestClient) -> None:
    body = untouched.get("/version").json()
    assert {"torch", "numba", "optuna"} <= body["libraries"].keys()
    assert (body["database"], body["revision"][:1]) == ("sqlite", "0")
