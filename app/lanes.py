"""The trainer of a cohort: hears what its lanes ask for, and trains together what can be."""

import traceback
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from app.line import GO_ON, STOP, Done, Epoch, Failed, Message, Stopped
from models.memory import release_memory
from models.training import EpochReport
from search import cohorts
from search.points import Assignment, Outcome
from search.spec import JobSpec, parse

GATHER_SECONDS = 1.0  # after one lane has asked, the others are waited for until none has asked for so long


@dataclass(frozen=True)
class Request:
    spec: JobSpec
    assignment: Assignment
    data_hash: str

    @property
    def kind(self) -> Hashable:
        return cohorts.kind(self.spec, self.assignment), self.data_hash


def serve(pipes: Sequence[Connection], data_dir: Path | None) -> None:
    """Trains until no lane is left."""
    lanes = Lanes(pipes)
    while lanes.gather():
        together = lanes.take()
        try:
            _train(lanes, together, data_dir)
        # As for a single run: the end of these, told to their owners in its own words.
        except Exception as error:  # noqa: BLE001
            for pipe in together:
                lanes.end(pipe, _failed(error))
        release_memory()


class Lanes:
    """Which lane is idle, which has asked and waits, which is in training. One without a supervisor is forgotten."""

    def __init__(self, pipes: Sequence[Connection]) -> None:
        self._idle = list(pipes)
        self._asked: dict[Connection, Request] = {}
        self._training: set[Connection] = set()

    def gather(self) -> bool:
        """Waits until something is asked for, and for those that follow closely. False where nobody is left to ask."""
        while self._idle or self._asked:
            if not self._listen(GATHER_SECONDS if self._asked else None):
                return True
        return False

    def listen(self) -> None:
        """Hears who gave up waiting, or began to, meanwhile."""
        while self._listen(0.0):
            pass

    def take(self) -> dict[Connection, Request]:
        """What goes together with the request that waits longest; these lanes are now in training."""
        first = next(iter(self._asked.values()))
        together = {pipe: request for pipe, request in self._asked.items() if request.kind == first.kind}
        for pipe in together:
            del self._asked[pipe]
            self._training.add(pipe)
        return together

    def answer(self, pipe: Connection) -> str | None:
        """A lane's word on the epoch it was told; None where its supervisor has gone."""
        try:
            word: str = pipe.recv()
        except (EOFError, OSError):
            self._training.discard(pipe)
            return None
        return word

    def say(self, pipe: Connection, message: Message) -> None:
        """Nothing, to one that has gone."""
        if pipe in self._training:
            try:
                pipe.send(message)
            except OSError:
                self._training.discard(pipe)

    def end(self, pipe: Connection, message: Message) -> None:
        """The last message of a training; the lane may ask again."""
        self.say(pipe, message)
        if pipe in self._training:
            self._training.discard(pipe)
            self._idle.append(pipe)

    def _listen(self, seconds: float | None) -> bool:
        ready = [each for each in wait([*self._idle, *self._asked], seconds) if isinstance(each, Connection)]
        for pipe in ready:
            self._hear(pipe)
        return bool(ready)

    def _hear(self, pipe: Connection) -> None:
        try:
            message: Any = pipe.recv()
        except (EOFError, OSError):
            self._asked.pop(pipe, None)
            if pipe in self._idle:
                self._idle.remove(pipe)
            return
        if message == STOP:
            # To one that is idle: it crossed the ending of a training.
            if self._asked.pop(pipe, None) is not None:
                self._training.add(pipe)
                self.end(pipe, Stopped())
            return
        spec, assignment, data_hash, _ = message
        self._idle.remove(pipe)
        self._asked[pipe] = Request(parse(spec), Assignment.from_json(assignment), data_hash)


def _train(lanes: Lanes, together: dict[Connection, Request], data_dir: Path | None) -> None:
    pipes, requests = list(together), list(together.values())
    first = requests[0]
    training = cohorts.perform(first.spec, [each.assignment for each in requests], data_dir, first.data_hash)
    stopped: list[int] | None = None
    while True:
        try:
            ended = next(training) if stopped is None else training.send(stopped)
        except StopIteration:
            return
        for number, what in ended.items():
            if isinstance(what, EpochReport):
                lanes.say(pipes[number], Epoch(asdict(what) | {"nnz": list(what.nnz)}))
            else:
                lanes.end(pipes[number], Done(what.to_json()) if isinstance(what, Outcome) else _failed(what))
        epochs = [number for number, what in ended.items() if isinstance(what, EpochReport)]
        stopped = [number for number in epochs if not _goes_on(lanes, pipes[number])]
        lanes.listen()


def _goes_on(lanes: Lanes, pipe: Connection) -> bool:
    word = lanes.answer(pipe)
    if word == STOP:
        lanes.end(pipe, Stopped())
    return word == GO_ON


def _failed(error: Exception) -> Failed:
    return Failed(f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error)))
