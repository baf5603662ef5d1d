import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import torch
from by_hand import problem, spec

from app.line import Died, Done, Epoch, Failed
from app.trainer import Trainer
from models.seeds import derive
from search import trials
from search.points import Assignment
from search.spec import JobSpec, dump

PATIENCE = 60.0  # seconds; a trainer that says nothing for so long has failed the test


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    trials.warm_up()
    made = Trainer(None)
    yield made
    made.kill()


def point(of: JobSpec) -> dict[str, Any]:
    layers = problem(of).layers
    counts = tuple(layer.total // 4 for layer in layers)
    seed = derive(0, "test")
    return Assignment("search", 0, seed, "sampled", 0, of.network, of.rewiring, counts).to_json()


def begin(trainer: Trainer, epochs: int = 3) -> None:
    made = spec(epochs=epochs)
    trainer.train(dump(made), point(made), problem(made).data_hash)


def follow(trainer: Trainer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    epochs = []
    while isinstance(message := trainer.receive(PATIENCE), Epoch):
        epochs.append(message.report)
        trainer.go_on()
    assert isinstance(message, Done)
    return epochs, message.outcome


def train(trainer: Trainer) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    begin(trainer)
    return follow(trainer)


def test_it_reports_each_epoch_then_the_outcome_and_trains_on(trainer: Trainer) -> None:
    epochs, outcome = train(trainer)
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert outcome["nnz"] == epochs[-1]["nnz"] == [128, 20]
    again, repeated = train(trainer)
    assert [epoch["loss"] for epoch in again] == [epoch["loss"] for epoch in epochs]
    assert repeated["connections"] == outcome["connections"]


def test_it_waits_after_an_epoch_for_leave_to_go_on(trainer: Trainer) -> None:
    begin(trainer)
    assert isinstance(trainer.receive(PATIENCE), Epoch)
    assert trainer.receive(0.2) is None


def test_told_to_stop_it_stops_at_once_and_is_ready_again(trainer: Trainer) -> None:
    begin(trainer, epochs=1000)
    trainer.receive(PATIENCE)
    assert trainer.stop(PATIENCE)
    assert len(train(trainer)[0]) == 3


def test_told_to_stop_between_epochs_it_stops_at_the_next(trainer: Trainer) -> None:
    begin(trainer, epochs=1000)
    trainer.receive(PATIENCE)
    trainer.go_on()
    assert trainer.stop(PATIENCE)
    assert trainer.stop(0.0), "an idle trainer has stopped already"


def test_one_that_does_not_stop_in_time_is_said_not_to(trainer: Trainer) -> None:
    begin(trainer, epochs=1000)
    assert not trainer.stop(0.0)


def test_what_a_training_raises_is_told_in_its_words_and_costs_no_trainer(trainer: Trainer) -> None:
    made = spec()
    gone = dump(made) | {"data": {"kind": "files", "name": "nowhere"}}
    trainer.train(gone, point(made), "")
    message = trainer.receive(PATIENCE)
    assert isinstance(message, Failed)
    assert "DataError" in message.reason
    assert "Traceback" in message.traceback
    assert len(train(trainer)[0]) == 3


def test_one_that_is_killed_in_a_run_has_died_by_that_signal(trainer: Trainer) -> None:
    begin(trainer, epochs=1000)
    assert trainer._process.pid is not None
    os.kill(trainer._process.pid, signal.SIGKILL)
    with pytest.raises(Died, match="SIGKILL"):
        follow(trainer)


def test_one_that_was_killed_while_idle_has_died_when_it_is_needed(trainer: Trainer) -> None:
    assert trainer._process.pid is not None
    os.kill(trainer._process.pid, signal.SIGKILL)
    trainer._process.join()
    with pytest.raises(Died):
        begin(trainer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signals_to_the_whole_group_are_left_to_the_supervisor(trainer: Trainer, number: signal.Signals) -> None:
    begin(trainer)
    trainer.receive(PATIENCE)  # it is past its own start
    assert trainer._process.pid is not None
    os.kill(trainer._process.pid, number)
    trainer.go_on()
    assert isinstance(trainer.receive(PATIENCE), Epoch)


ORPHAN = """
import os, signal, time
from by_hand import spec
from test_trainer import begin
from app.trainer import Trainer
from search.resumable import Resumable
Resumable.perform = lambda _: (time.sleep(3600) for _ in range(1))
trainer = Trainer(None)
begin(trainer)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_none_outlives_a_supervisor_that_was_killed() -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([os.getcwd(), os.path.dirname(__file__)]))
    # The trainer has the same pipe as its output: reading that to its end waits until both are gone.
    child = subprocess.run([sys.executable, "-c", ORPHAN], env=environment, capture_output=True, timeout=PATIENCE)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()


def test_what_a_run_left_is_no_part_of_the_next_ones_peak() -> None:
    size, pieces = 2**22, 64

    def waste(spec: Any, assignment: Any, data_dir: Any, data_hash: Any, left_at: Any) -> NoReturn:
        kept = [torch.ones(size // 4) for _ in range(pieces if spec["large"] else 1)]
        raise ValueError(len(kept))

    trainer = Trainer(None, waste)
    peaks = []
    for large in (True, False):
        trainer.train({"large": large}, {}, "")
        message = trainer.receive(PATIENCE)
        assert isinstance(message, Failed)
        assert message.used is not None
        peaks.append(message.used.peak_bytes or 0)
    trainer.kill()
    assert peaks[0] - peaks[1] > 0.8 * size * pieces
