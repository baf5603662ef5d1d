import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import Pipe
from typing import Any

import pytest
from by_hand import Hand, problem, spec
from sqlalchemy import Engine

from app import jobs, lanes, runs
from app.cohort import Lane
from app.jobs import Job
from app.line import Died, Done, Epoch, Failed
from app.settings import Settings
from models.seeds import derive
from search import trials
from search.points import Assignment, Outcome
from search.spec import dump, parse

PATIENCE = 60.0
LANES = 3


@pytest.fixture
def shared() -> Iterator[list[Lane]]:
    """Lanes to one trainer, which is a thread here."""
    pairs = [Pipe() for _ in range(LANES)]
    trainer = threading.Thread(target=lanes.serve, args=([theirs for _, theirs in pairs], None))
    trainer.start()
    made = [Lane(ours) for ours, _ in pairs]
    yield made
    for lane in made:
        lane.kill()
    trainer.join(PATIENCE)
    assert not trainer.is_alive(), "it ends when no lane is left"


def point(seed: int, epochs: int = 3, storage: str = "masked") -> tuple[dict[str, Any], dict[str, Any], str]:
    made = dump(spec(epochs=epochs))
    made["training"] |= {"storage": storage}
    of = parse(made)
    counts = tuple(layer.total // (3 + seed) for layer in problem(of).layers)
    assignment = Assignment("search", seed, derive(seed, "test"), "sampled", seed, of.network, of.rewiring, counts)
    return made, assignment.to_json(), problem(of).data_hash


def follow(lane: Lane) -> tuple[list[Mapping[str, Any]], Done | Failed]:
    epochs: list[Mapping[str, Any]] = []
    while isinstance(message := lane.receive(PATIENCE), Epoch):
        epochs.append(message.report)
        lane.go_on()
    assert message is not None, "the trainer said nothing"
    return epochs, message


def together(shared: list[Lane]) -> list[tuple[list[Mapping[str, Any]], Done | Failed]]:
    """What each lane hears, all of them followed at once: nobody goes on before all have answered."""
    found: dict[int, tuple[list[Mapping[str, Any]], Done | Failed]] = {}

    def hear(number: int) -> None:
        found[number] = follow(shared[number])

    threads = [threading.Thread(target=hear, args=(number,)) for number in range(len(shared))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return [found[number] for number in range(len(shared))]


def alone(seed: int, **settings: Any) -> tuple[list[float], Outcome]:
    given, assignment, data_hash = point(seed, **settings)
    *reports, outcome = trials.perform(parse(given), Assignment.from_json(assignment), None, data_hash)
    assert isinstance(outcome, Outcome)
    return [report.loss for report in reports], outcome  # type: ignore[union-attr,misc]


@pytest.mark.parametrize("storage", ["masked", "compressed"])
def test_each_lane_hears_what_its_training_alone_would_have_said(shared: list[Lane], storage: str) -> None:
    for seed, lane in enumerate(shared):
        lane.train(*point(seed, storage=storage))
    for seed, (epochs, ending) in enumerate(together(shared)):
        losses, outcome = alone(seed, storage=storage)
        assert isinstance(ending, Done)
        assert [epoch["loss"] for epoch in epochs] == pytest.approx(losses, rel=1e-4)
        assert ending.outcome["nnz"] == list(outcome.nnz)
        assert ending.outcome["storage"] == [storage, storage]


def test_points_of_another_kind_follow(shared: list[Lane]) -> None:
    for lane, epochs in zip(shared, (2, 4, 2), strict=True):
        lane.train(*point(1, epochs=epochs))
    assert [len(epochs) for epochs, _ in together(shared)] == [2, 4, 2]


def test_a_lane_that_stops_leaves_the_others_in_training(shared: list[Lane]) -> None:
    for seed, lane in enumerate(shared):
        lane.train(*point(seed))
    assert isinstance(shared[0].receive(PATIENCE), Epoch)
    assert shared[0].stop(0.0)
    assert [len(epochs) for epochs, _ in together(shared[1:])] == [3, 3]
    shared[0].train(*point(0))
    assert len(follow(shared[0])[0]) == 3


def test_a_lane_may_stop_while_it_waits_for_its_turn(shared: list[Lane]) -> None:
    shared[0].train(*point(0, epochs=1000))
    assert isinstance(shared[0].receive(PATIENCE), Epoch)
    shared[1].train(*point(1, epochs=2))
    stopped = threading.Thread(target=shared[1].stop, args=(0.0,))
    stopped.start()
    while stopped.is_alive():
        shared[0].go_on()
        assert isinstance(shared[0].receive(PATIENCE), Epoch)
    assert shared[0].stop(0.0)


def test_one_whose_supervisor_has_gone_costs_the_others_nothing(shared: list[Lane]) -> None:
    for seed, lane in enumerate(shared):
        lane.train(*point(seed))
    assert isinstance(shared[0].receive(PATIENCE), Epoch)
    shared[0].kill()
    assert [len(epochs) for epochs, _ in together(shared[1:])] == [3, 3]


def test_what_one_training_raises_ends_that_one(shared: list[Lane]) -> None:
    given, assignment, data_hash = point(0)
    shared[0].train(given, assignment | {"counts": [10**9, 10**9]}, data_hash)
    shared[1].train(*point(1))
    _, ending = follow(shared[0])
    assert isinstance(ending, Failed)
    assert "ValueError" in ending.reason
    assert len(follow(shared[1])[0]) == 3


def test_data_that_are_gone_end_all_and_the_lanes_are_ready_again(shared: list[Lane]) -> None:
    given, assignment, _ = point(0)
    gone = given | {"data": {"kind": "files", "name": "nowhere"}}
    for lane in shared:
        lane.train(gone, assignment, "")
    assert all(isinstance(ending, Failed) and "DataError" in ending.reason for _, ending in together(shared))
    shared[2].train(*point(2))
    assert len(follow(shared[2])[0]) == 3


@pytest.fixture
def worker(store: Settings, db: Engine) -> Iterator[subprocess.Popen[bytes]]:
    environment = dict(os.environ, SNAS_COHORT=str(LANES), SNAS_POLL_SECONDS="0.1")
    if store.database_url:
        environment["SNAS_DATABASE_URL"] = store.database_url
    command = [sys.executable, "-m", "app.cli", "worker", "--state", str(store.state_dir)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_a_worker_with_lanes_does_a_whole_job_and_ends_when_asked(
    db: Engine, submit: Callable[..., Job], hand: Callable[..., Hand], worker: subprocess.Popen[bytes]
) -> None:
    job = submit(trials=7, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]})
    until(lambda: jobs.get(db, job.id).state in ("completed", "failed"))
    assert jobs.get(db, job.id).state == "completed"
    assert hand().trials(job) == dict.fromkeys(range(7), "complete")
    assert len({run.worker_id for run in runs.of_job(db, job.id, "search")}) > 1, "several supervisors shared it"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0


def test_a_trainer_that_dies_ends_the_worker_whose_runs_are_tried_again(
    db: Engine, submit: Callable[..., Job], worker: subprocess.Popen[bytes]
) -> None:
    job = submit(trials=2, epochs=100_000)
    until(lambda: [run.state for run in runs.of_job(db, job.id, "search")] == ["running", "running"])
    children = subprocess.run(["pgrep", "-P", str(worker.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(min(map(int, children.split())), signal.SIGKILL)  # the trainer is forked first
    assert worker.wait(PATIENCE) == 1
    assert [(run.attempt, run.state) for run in runs.of_job(db, job.id, "search")] == [(2, "waiting"), (2, "waiting")]


def test_a_line_whose_trainer_is_gone_says_so() -> None:
    ours, theirs = Pipe()
    theirs.close()
    with pytest.raises(Died):
        Lane(ours).train({}, {}, "")
