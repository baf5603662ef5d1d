"""The warm trainer: one child process that loaded the data once and trains run after run.

It is forked, not started: importing torch costs seconds, a fork of a process that has done so nothing, which makes
replacing a killed trainer instant. It answers to its pipe alone and never outlives the process that forked it.
"""

import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from app import run_log
from app.line import GO_ON, LEAVE, Done, Epoch, Failed, Line, Stopped, be_killed_with, end_with, hear, say
from app.run_files import RunFiles
from app.usage import Meter
from models.memory import release_memory
from models.training import EpochReport
from search import trials
from search.points import Outcome
from search.resumable import CheckpointError, Resumable, plain


class Training(Protocol):
    """One that was begun, or gone on with. epochs: done so far."""

    @property
    def epochs(self) -> int: ...

    def perform(self) -> Iterator[EpochReport | Outcome]: ...

    def save(self, path: Path) -> None: ...


Begin = Callable[[Mapping[str, Any], Mapping[str, Any], Path | None, str, Path | None], Training]
"""What begins a run: search.resumable.Resumable, or what stands in for it."""

_FORK = multiprocessing.get_context("fork")

log = logging.getLogger(__name__)


class Trainer(Line):
    """The supervisor's end of one trainer process. Make it while no database connection is open."""

    def __init__(self, data_dir: Path | None, begin: Begin = Resumable, keeps_files: bool = True) -> None:
        self.keeps_files = keeps_files
        pipe, theirs = _FORK.Pipe()
        super().__init__(pipe)
        alive, self._lifeline = os.pipe()
        self._process = _FORK.Process(
            target=_serve, args=(theirs, pipe, alive, self._lifeline, data_dir, begin, os.getpid()), daemon=True
        )
        self._process.start()
        theirs.close()
        os.close(alive)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        super().kill()
        os.close(self._lifeline)

    def _cause(self) -> str:
        self._process.join(1.0)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"the trainer was killed by {signal.Signals(-code).name}"
        return f"the trainer ended with code {code}"


def _serve(
    pipe: Connection,
    parents_pipe: Connection,
    alive: int,
    parents_lifeline: int,
    data_dir: Path | None,
    begin: Begin,
    parent: int,
) -> None:
    # With our copies of the parent's ends open, we would never see them closed.
    parents_pipe.close()
    os.close(parents_lifeline)
    end_with(alive)
    be_killed_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # both reach a whole group of processes; the supervisor decides
    trials.prepare_process()
    run_log.prepare()
    while True:
        spec, assignment, data_hash, files = hear(pipe)
        with run_log.written_to(files):
            _train(pipe, begin, spec, assignment, data_dir, data_hash, files)
        release_memory()  # nobody's while there is no run, and no part of the next one's peak


def _train(
    pipe: Connection,
    begin: Begin,
    spec: Mapping[str, Any],
    assignment: Mapping[str, Any],
    data_dir: Path | None,
    data_hash: str,
    files: RunFiles | None,
) -> None:
    meter = Meter()
    try:
        left_at = files.checkpoint if files and files.epochs else None
        training = begin(spec, assignment, data_dir, data_hash, left_at)
        if left_at and files and training.epochs != files.epochs:
            raise CheckpointError(left_at, f"it is {training.epochs} epochs old, and was {files.epochs}")
        _report(pipe, training, files, meter)
    except CheckpointError:
        # It was whole a moment ago, when the supervisor looked: no fault of the training, which is tried again.
        run_log.note(traceback.format_exc())
        os._exit(1)
    # Whatever a training raises (diverged, out of memory, a file gone, a bug) is the end of that run, told to its
    # owner in its own words; the next run may be of another job and must not suffer for it.
    except Exception as error:  # noqa: BLE001
        run_log.note(traceback.format_exc())
        say(pipe, Failed(f"{type(error).__name__}: {error}", traceback.format_exc(), meter.read()))


def _report(pipe: Connection, training: Training, files: RunFiles | None, meter: Meter) -> None:
    kept_at = time.monotonic()
    for report in training.perform():
        if isinstance(report, Outcome):
            say(pipe, Done(report.to_json(), meter.read()))
            return
        say(pipe, Epoch(plain(report), meter.read()))
        word = hear(pipe)
        if files and (word == LEAVE or (word == GO_ON and time.monotonic() - kept_at >= files.every)):
            _keep(training, files.checkpoint)
            kept_at = time.monotonic()
        if word != GO_ON:
            say(pipe, Stopped())
            return


def _keep(training: Training, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        training.save(path)
    except OSError as error:
        # Without it the run may have to start over, but it is not lost.
        log.warning("no checkpoint could be written to %s: %s", path.parent, error.strerror or error)
