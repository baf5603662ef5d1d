"""A worker that trains many at once: as many supervisors as it has lanes, and one trainer that takes them together.

Each supervisor claims, asks, stores and tells as if it were alone; only its trainer is shared. They are processes, as
each believes one thing about one run. If the trainer ends, so do all of them, and whoever started the worker starts
another.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from app import lanes
from app.line import STOP, Line, NoTrainer, be_killed_with
from search import trials

_FORK = multiprocessing.get_context("fork")

Supervise = Callable[[Callable[[], "Lane"]], None]

log = logging.getLogger(__name__)


class Lane(Line):
    """A supervisor's end of the trainer that it shares: nothing of the others is stopped or killed from here."""

    keeps_files = False

    def stop(self, seconds: float) -> bool:
        """Leaves the cohort at its next epoch, however long that takes. Raises: app.line.Died."""
        told = False
        while self._busy:
            if not told:
                self._answer(STOP)
                told = True
            self._receive(None)
        return True


def work(size: int, data_dir: Path | None, supervise: Supervise) -> None:
    """Runs `size` supervisors until SIGTERM or SIGINT; call it while no database connection is open.

    supervise  what each does with its lane

    Raises: SystemExit, where one of the processes ended by itself
    """
    pipes = [_FORK.Pipe() for _ in range(size)]
    parent = os.getpid()
    trainer = _FORK.Process(target=_train, args=(pipes, data_dir, parent), name="trainer", daemon=True)
    trainer.start()
    supervisors = [
        _FORK.Process(target=_supervise, args=(number, pipes, supervise, parent), name=f"lane {number}")
        for number in range(size)
    ]
    for supervisor in supervisors:
        supervisor.start()
    for ours, theirs in pipes:
        ours.close()
        theirs.close()
    stopping = _Stopping()
    fault = _watch([trainer, *supervisors], stopping)
    for supervisor in supervisors:
        supervisor.terminate()
    for supervisor in supervisors:
        supervisor.join()
    trainer.kill()
    trainer.join()
    if fault:
        raise SystemExit(fault)


class _Stopping:
    """Set by the signals that end a worker; `asked` is then readable."""

    def __init__(self) -> None:
        self.asked, self._wake = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(self._wake, b"."))


def _watch(processes: list[BaseProcess], stopping: _Stopping) -> str | None:
    """Waits for the end: None if it was asked for, else which process ended by itself."""
    sentinels: Mapping[int, BaseProcess] = {process.sentinel: process for process in processes}
    ready = wait([*sentinels, stopping.asked])
    if stopping.asked in ready:
        return None
    ended = next(sentinels[each] for each in ready if isinstance(each, int))
    ended.join()
    return f"{ended.name} ended with code {ended.exitcode}"


def _train(pipes: list[tuple[Connection, Connection]], data_dir: Path | None, parent: int) -> None:
    for ours, _ in pipes:
        ours.close()
    be_killed_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    trials.prepare_process()
    lanes.serve([theirs for _, theirs in pipes], data_dir)


def _supervise(number: int, pipes: list[tuple[Connection, Connection]], supervise: Supervise, parent: int) -> None:
    for other, (ours, theirs) in enumerate(pipes):
        theirs.close()
        if other != number:
            ours.close()
    be_killed_with(parent, signal.SIGTERM)
    given = [Lane(pipes[number][0])]

    def lane() -> Lane:
        if not given:
            raise NoTrainer(f"lane {number}: the trainer of this cohort is gone")
        return given.pop()

    supervise(lane)
