"""The warm trainer: one child process that loaded the data once and trains run after run.

It is forked, not started: importing torch costs seconds, a fork of a process that has done so nothing, which makes
replacing a killed trainer instant. It answers to its pipe alone and never outlives the process that forked it.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from search import trials
from search.points import Assignment, Outcome
from search.spec import parse

_FORK = multiprocessing.get_context("fork")
_PARENT_DEATH_SIGNAL = 1  # Linux: prctl(PR_SET_PDEATHSIG, ...)
_GO_ON, _STOP = "go on", "stop"


@dataclass(frozen=True)
class Epoch:
    """search's epoch report as JSON; the trainer now waits for `go_on` or `stop`."""

    report: dict[str, Any]


@dataclass(frozen=True)
class Done:
    outcome: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The training raised. reason: one line."""

    reason: str
    traceback: str


@dataclass(frozen=True)
class Stopped:
    """It stopped because it was told to."""


class Died(Exception):
    """The trainer's process ended in the middle of a run: killed, out of memory, or crashed in native code."""


class Trainer:
    """The supervisor's end of one trainer process. Make it while no database connection is open."""

    def __init__(self, data_dir: Path | None) -> None:
        self._pipe, theirs = _FORK.Pipe()
        alive, self._lifeline = os.pipe()
        self._process = _FORK.Process(
            target=_serve, args=(theirs, self._pipe, alive, self._lifeline, data_dir, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        os.close(alive)
        self._busy = self._waiting = False

    def train(self, spec: Mapping[str, Any], assignment: Mapping[str, Any], data_hash: str) -> None:
        """Begins a run; its messages follow by `receive`. Raises: Died."""
        self._send((dict(spec), dict(assignment), data_hash))
        self._busy, self._waiting = True, False

    def receive(self, seconds: float) -> Epoch | Done | Failed | None:
        """The next message, None where none came in time. Raises: Died."""
        message = self._receive(seconds)
        assert not isinstance(message, Stopped)
        return message

    def go_on(self) -> None:
        """Answers an epoch. Raises: Died."""
        self._answer(_GO_ON)

    def stop(self, seconds: float) -> bool:
        """Stops the run at its next epoch; False where that did not come in time. Raises: Died."""
        deadline = time.monotonic() + seconds
        while self._busy:
            if self._waiting:
                self._answer(_STOP)
            if self._receive(max(0.0, deadline - time.monotonic())) is None:
                return False
        return True

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()
        os.close(self._lifeline)

    def _receive(self, seconds: float) -> Epoch | Done | Failed | Stopped | None:
        try:
            if not self._pipe.poll(seconds):
                return None
            message: Epoch | Done | Failed | Stopped = self._pipe.recv()
        except (EOFError, OSError):
            raise Died(self._cause()) from None
        self._waiting = isinstance(message, Epoch)
        self._busy = self._waiting
        return message

    def _answer(self, word: str) -> None:
        self._send(word)
        self._waiting = False

    def _send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            raise Died(self._cause()) from None

    def _cause(self) -> str:
        self._process.join(1.0)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"the trainer was killed by {signal.Signals(-code).name}"
        return f"the trainer ended with code {code}"


def _serve(
    pipe: Connection, parents_pipe: Connection, alive: int, parents_lifeline: int, data_dir: Path | None, parent: int
) -> None:
    # With our copies of the parent's ends open, we would never see them closed.
    parents_pipe.close()
    os.close(parents_lifeline)
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
    _be_killed_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # both reach a whole group of processes; the supervisor decides
    trials.single_thread()
    while True:
        spec, assignment, data_hash = _hear(pipe)
        _train(pipe, spec, assignment, data_dir, data_hash)


def _train(
    pipe: Connection, spec: Mapping[str, Any], assignment: dict[str, Any], data_dir: Path | None, data_hash: str
) -> None:
    try:
        for report in trials.perform(parse(spec), Assignment.from_json(assignment), data_dir, data_hash):
            if isinstance(report, Outcome):
                _say(pipe, Done(report.to_json()))
                return
            _say(pipe, Epoch(asdict(report) | {"nnz": list(report.nnz)}))
            if _hear(pipe) == _STOP:
                _say(pipe, Stopped())
                return
    # Whatever a training raises (diverged, out of memory, a file gone, a bug) is the end of that run, told to its
    # owner in its own words; the next run may be of another job and must not suffer for it.
    except Exception as error:  # noqa: BLE001
        _say(pipe, Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))


def _say(pipe: Connection, message: Epoch | Done | Failed | Stopped) -> None:
    try:
        pipe.send(message)
    except OSError:
        os._exit(0)  # the supervisor has gone


def _hear(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except (EOFError, OSError):
        os._exit(0)


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # returns when the other end is closed, however that came about
    os._exit(0)


def _be_killed_with(parent: int) -> None:
    if sys.platform == "linux":
        # Even while a long native call keeps every other thread from running.
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
