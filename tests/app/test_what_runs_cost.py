"""CPU seconds, memory and logs of runs: measured where they are trained, kept with the run, read over the API."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from by_hand import LEASE, Hand
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from app import attendance, database, fences, jobs, run_files, runs, usage
from app.fences import Left
from app.jobs import Job
from app.main import create_app as make_app
from app.settings import Settings
from app.trainer import Trainer
from app.usage import Meter, Usage
from app.worker import Supervisor
from models.memory import release_memory
from search import trials
from search.resumable import Resumable

Submit = Callable[..., Job]
Hands = Callable[..., Hand]


class Costly(Resumable):
    """A training that computes for a while, holds much memory, and says so."""

    def perform(self) -> Iterator[Any]:
        until = time.process_time() + 0.3
        while time.process_time() < until:
            pass
        held = bytearray(os.urandom(64)) * 2**20  # 64 MiB
        logging.getLogger("costly").warning("held %d bytes", len(held))
        os.write(2, b"held much\n")
        del held
        yield from super().perform()


@pytest.fixture
def worker(store: Settings, db: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    trials.warm_up()
    monkeypatch.setattr(attendance, "FLUSH_SECONDS", 0.0)
    db.dispose()
    made = Supervisor(store, lambda: Trainer(store.data_dir, Costly))
    yield made
    made.stop()
    made.work()


def work(worker: Supervisor) -> None:
    while not worker._stopping and worker._attend_next():
        pass


def read(store: Settings, path: str) -> Any:
    app = make_app(store)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_meter_tells_the_peak_of_its_own_time() -> None:
    before = bytearray(os.urandom(64)) * 2**20
    size = len(before)
    del before
    release_memory()  # a process that trains would keep it
    meter = Meter()
    small = meter.read()
    held = bytearray(os.urandom(64)) * 2**20
    big = meter.read()
    del held
    assert small.peak_bytes is not None
    assert big.peak_bytes is not None
    assert big.peak_bytes - small.peak_bytes > 0.9 * size
    assert meter.read().peak_bytes == pytest.approx(big.peak_bytes, rel=0.01)  # the kernel counts in batches
    assert meter.read().cpu_seconds > small.cpu_seconds


def test_where_the_peak_cannot_begin_anew_none_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(usage, "_RESET", tmp_path / "nowhere" / "clear_refs")
    assert Meter().read().peak_bytes is None


def test_parts_add_up_in_seconds_and_not_in_memory() -> None:
    assert Usage(1.0, 7).and_then(Usage(2.0, 5)) == Usage(3.0, 7)
    assert Usage(1.0, None).and_then(Usage(2.0, 5)) == Usage(3.0, 5)
    assert Usage().and_then(Usage()) == Usage(0.0, None)


def test_what_a_run_cost_and_wrote_is_kept_with_it(
    store: Settings, db: Engine, submit: Submit, worker: Supervisor
) -> None:
    job = submit(trials=2)
    work(worker)
    listed = read(store, f"/api/v1/jobs/{job.id}/runs").json()["items"]
    assert [(run["stage"], run["ordinal"], run["attempt"], run["state"]) for run in listed] == [
        ("search", 0, 1, "complete"),
        ("search", 1, 1, "complete"),
    ]
    for run in listed:
        assert run["cpu_seconds"] >= 0.3
        assert run["peak_bytes"] > 64 * 2**20
        log = read(store, run["log"])
        assert log.headers["content-type"].startswith("text/plain")
        assert log.text == "held much\n"
    used = read(store, f"/api/v1/jobs/{job.id}").json()["used"]
    assert used["cpu_seconds"] == pytest.approx(sum(run["cpu_seconds"] for run in listed))
    assert used["peak_bytes"] == max(run["peak_bytes"] for run in listed)


def test_what_a_killed_attempt_had_told_of_counts_for_its_job(
    store: Settings, db: Engine, submit: Submit, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, left = fences.record, [True]

    def recorded(*given: Any) -> None:
        record(*given)
        if left:
            left.pop()
            os.kill(worker._trainer._process.pid or 0, signal.SIGKILL)

    monkeypatch.setattr(fences, "record", recorded)
    job = submit(trials=1)
    work(worker)
    first, second = runs.attempts(db, job.id)
    assert (first.state, second.state) == ("lost", "complete")
    assert first.cpu_seconds is not None
    assert first.cpu_seconds >= 0.3
    used = read(store, f"/api/v1/jobs/{job.id}").json()["used"]
    assert used["cpu_seconds"] == pytest.approx(first.cpu_seconds + (second.cpu_seconds or 0.0))
    assert "SIGKILL" in str(first.error)


def test_a_run_that_was_given_back_keeps_what_its_first_part_used(db: Engine, submit: Submit, hand: Hands) -> None:
    submit(trials=1)
    one = hand()
    claim = one.take()
    one.begin(claim)
    fences.release(db, claim, database.now(db), Left(Usage(2.0, 500), "first\n"))
    again = one.take()
    assert again.run_id == claim.run_id
    one.begin(again)
    fences.finish(db, again, "failed", None, "why", database.now(db), LEASE, Left(Usage(3.0, 400), ""))
    run = runs.get(db, again.job_id, again.run_id)
    assert (run.cpu_seconds, run.peak_bytes) == (5.0, 500)


def test_of_a_run_that_never_told_anything_nothing_is_known(
    store: Settings, db: Engine, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    one = hand()
    claim = one.take()
    one.begin(claim)
    fences.crash(db, claim, "the trainer has ended", database.now(db), 3)
    first, _ = read(store, f"/api/v1/jobs/{job.id}/runs").json()["items"]
    assert (first["state"], first["cpu_seconds"], first["peak_bytes"]) == ("lost", None, None)
    assert read(store, f"/api/v1/jobs/{job.id}").json()["used"] == {"cpu_seconds": 0.0, "peak_bytes": None}


def test_what_the_first_part_of_a_run_wrote_stays_where_the_next_writes_nothing(
    store: Settings, db: Engine, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    one = hand()
    one.begin(claim := one.take())
    fences.release(db, claim, database.now(db), Left(Usage(2.0, 500), "first\n"))
    one.begin(again := one.take())
    fences.release(db, again, database.now(db), Left())
    path = f"/api/v1/jobs/{job.id}/runs/{claim.run_id}"
    assert read(store, f"{path}/log").text == "first\n"
    assert runs.get(db, job.id, claim.run_id).cpu_seconds == 2.0
    one.begin(last := one.take())
    fences.release(db, last, database.now(db), Left(None, "second\n"))
    assert read(store, f"{path}/log").text == "second\n"


def test_a_log_that_cannot_be_read_costs_the_result_nothing(
    db: Engine, submit: Submit, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> str:
        raise OSError("input/output error")

    monkeypatch.setattr(run_files, "tail", broken)
    job = submit(trials=1)
    work(worker)
    assert jobs.get(db, job.id).state == "completed"


def test_the_log_of_a_run_in_training_is_read_from_its_file(
    store: Settings, db: Engine, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    claim = hand().take()
    path = f"/api/v1/jobs/{job.id}/runs/{claim.run_id}/log"
    assert read(store, path).text == ""
    file = run_files.log_file(store.state_dir, job.id, "search", 0, 1)
    file.parent.mkdir(parents=True)
    file.write_text("so far\n")
    assert read(store, path).text == "so far\n"


def test_a_run_of_another_job_is_none_of_this_one(store: Settings, db: Engine, submit: Submit, hand: Hands) -> None:
    submit(trials=1)
    other = submit(trials=1)
    claim = hand().take()
    assert claim.job_id != other.id
    with TestClient(make_app(store), base_url="http://127.0.0.1:8000") as client:
        found = [client.get(f"/api/v1/jobs/{other.id}/runs/{run}/log") for run in (claim.run_id, "0" * 32, "..%2f")]
    assert [answer.status_code for answer in found] == [404, 404, 404]
    assert jobs.get(db, other.id).state == "queued"
