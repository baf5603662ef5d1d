"""What a supervisor and a trainer say over their pipe: a point down; epochs up, each answered; an ending up."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from app.run_files import RunFiles
from app.usage import Usage

GO_ON, STOP, LEAVE = "go on", "stop", "leave"
_PARENT_DEATH_SIGNAL = 1  # Linux: prctl(PR_SET_PDEATHSIG, ...)


@dataclass(frozen=True)
class Epoch:
    """search's epoch report as JSON; the trainer now waits for `go_on`, `stop` or `leave`.

    used, here and below: since the training began, by a trainer that does nothing else meanwhile
    """

    report: dict[str, Any]
    used: Usage | None = None


@dataclass(frozen=True)
class Done:
    outcome: dict[str, Any]
    used: Usage | None = None


@dataclass(frozen=True)
class Failed:
    """The training raised. reason: one line."""

    reason: str
    traceback: str
    used: Usage | None = None


@dataclass(frozen=True)
class Stopped:
    """It stopped because it was told to."""


Message = Epoch | Done | Failed | Stopped


class Died(Exception):
    """The trainer's process ended in the middle of a run: killed, out of memory, or crashed in native code."""


class NotBegun(Died):
    """It had ended before the run was given to it: whatever ended it, it was not this run."""


class NoTrainer(Exception):
    """There will be no other trainer: the supervisor ends once its run is settled."""


class Line:
    """The supervisor's end.

    keeps_files  whether its trainings leave checkpoints and logs, and can go on from a checkpoint
    """

    keeps_files = True

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._busy = self._waiting = False

    def train(
        self,
        spec: Mapping[str, Any],
        assignment: Mapping[str, Any],
        data_hash: str,
        files: RunFiles | None = None,
    ) -> None:
        """Begins a run; its messages follow by `receive`. files: None keeps none. Raises: NotBegun."""
        try:
            self._send((dict(spec), dict(assignment), data_hash, files))
        except Died as error:
            raise NotBegun(*error.args) from None
        self._busy, self._waiting = True, False

    def receive(self, seconds: float) -> Epoch | Done | Failed | None:
        """The next message, None where none came in time. Raises: Died."""
        message = self._receive(seconds)
        assert not isinstance(message, Stopped)
        return message

    def go_on(self) -> None:
        """Answers an epoch. Raises: Died."""
        self._answer(GO_ON)

    def stop(self, seconds: float) -> bool:
        """Stops the run at its next epoch; False where that did not come in time. Raises: Died."""
        deadline = time.monotonic() + seconds
        while self._busy:
            if self._waiting:
                self._answer(STOP)
            if self._receive(max(0.0, deadline - time.monotonic())) is None:
                return False
        return True

    def leave(self, seconds: float) -> bool:
        """Answers an epoch: the training is left there, with a checkpoint to go on from; False where that was not done
        in time. Raises: Died.
        """
        self._answer(LEAVE)
        return self._receive(max(0.0, seconds)) is not None

    def is_gone(self) -> bool:
        """Whether the trainer ended while nothing was asked of it."""
        return not self._busy and self._pipe.poll(0)  # an idle one says nothing: what can be read is the end

    def kill(self) -> None:
        """Ends the trainer, as far as it is this supervisor's alone."""
        self._pipe.close()

    def _receive(self, seconds: float | None) -> Message | None:
        try:
            if not self._pipe.poll(seconds):
                return None
            message: Message = self._pipe.recv()
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
        return "the trainer has ended"


def say(pipe: Connection, message: Message) -> None:
    """The trainer's side; ends this process where the supervisor has gone."""
    try:
        pipe.send(message)
    except OSError:
        os._exit(0)


def hear(pipe: Connection) -> Any:
    """The trainer's side; ends this process where the supervisor has gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        os._exit(0)


def end_with(alive: int) -> None:
    """Ends this process once the other end of the pipe `alive` is closed, however that came about."""
    threading.Thread(target=_wait_for_end, args=(alive,), daemon=True).start()


def be_killed_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Has this process get the signal when its parent ends, even while a long native call keeps all threads."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, number)
        if os.getppid() != parent:
            os._exit(0)


def _wait_for_end(alive: int) -> None:
    os.read(alive, 1)
    os._exit(0)
