"""The warm trainer: one child process that loaded the data once and trains run after run.

It is forked, not started: importing torch costs seconds, a fork of a process that has done so nothing, which makes
replacing a killed trainer instant. It answers to its pipe alone and never outlives the process that forked it.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.line import STOP, Done, Epoch, Failed, Line, Stopped, be_killed_with, end_with, hear, say
from models.training import EpochReport
from search import trials
from search.points import Assignment, Outcome
from search.spec import JobSpec, parse

Perform = Callable[[JobSpec, Assignment, Path | None, str], Iterator[EpochReport | Outcome]]
"""What a run does: search.trials.perform, or what stands in for it."""

_FORK = multiprocessing.get_context("fork")


class Trainer(Line):
    """The supervisor's end of one trainer process. Make it while no database connection is open."""

    def __init__(self, data_dir: Path | None, perform: Perform = trials.perform) -> None:
        pipe, theirs = _FORK.Pipe()
        super().__init__(pipe)
        alive, self._lifeline = os.pipe()
        self._process = _FORK.Process(
            target=_serve, args=(theirs, pipe, alive, self._lifeline, data_dir, perform, os.getpid()), daemon=True
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
    perform: Perform,
    parent: int,
) -> None:
    # With our copies of the parent's ends open, we would never see them closed.
    parents_pipe.close()
    os.close(parents_lifeline)
    end_with(alive)
    be_killed_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # both reach a whole group of processes; the supervisor decides
    trials.single_thread()
    while True:
        spec, assignment, data_hash = hear(pipe)
        _train(pipe, perform, spec, assignment, data_dir, data_hash)


def _train(
    pipe: Connection,
    perform: Perform,
    spec: Mapping[str, Any],
    assignment: dict[str, Any],
    data_dir: Path | None,
    data_hash: str,
) -> None:
    try:
        for report in perform(parse(spec), Assignment.from_json(assignment), data_dir, data_hash):
            if isinstance(report, Outcome):
                say(pipe, Done(report.to_json()))
                return
            say(pipe, Epoch(asdict(report) | {"nnz": list(report.nnz)}))
            if hear(pipe) == STOP:
                say(pipe, Stopped())
                return
    # Whatever a training raises (diverged, out of memory, a file gone, a bug) is the end of that run, told to its
    # owner in its own words; the next run may be of another job and must not suffer for it.
    except Exception as error:  # noqa: BLE001
        say(pipe, Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))
