"""Servers, reapers and workers as processes that a test forks: real ones, without the seconds of importing again."""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from app import attendance, endings, reaper, serve, worker
from app.settings import Settings
from search import study

_FORK = multiprocessing.get_context("fork")


class Hold:
    """A place in a worker's code where the first to come waits until it is let go; a killed one waits no more."""

    def __init__(self, directory: Path) -> None:
        self._reached, self._open = directory / "held", directory / "open"

    def is_reached(self) -> bool:
        return self._reached.exists()

    def let_go(self) -> None:
        self._open.touch()

    def wait(self) -> None:
        if self._reached.exists():
            return
        self._reached.touch()
        while not self._open.exists():
            time.sleep(0.01)


class Process:
    """One of them; make it while no database connection is open here."""

    def __init__(self, target: Callable[..., None], settings: Settings, *arguments: Any) -> None:
        self._made = (target, settings, *arguments)
        self.start()

    def start(self) -> None:
        self.process: BaseProcess = _FORK.Process(target=_run, args=self._made)
        self.process.start()

    @property
    def pid(self) -> int:
        pid = self.process.pid
        assert pid is not None
        return pid

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        assert self.process.exitcode == -signal.SIGKILL

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        self.go_on()
        self.process.terminate()
        self.process.join(60)
        self.process.kill()
        self.process.join()


def serving(settings: Settings) -> None:
    serve.serve(settings, "127.0.0.1", 0, workers=0, reaps=False)


def reaping(settings: Settings) -> None:
    reaper.main(settings)


def working(settings: Settings, hold_in: str | None, hold: Hold) -> None:
    """hold_in: `asking`, when Optuna has made the trial and our row does not say so yet; `finishing`, when our row says
    how the run ended and Optuna is not told yet; None for neither."""
    if hold_in == "asking":
        begin = study.Asked.begin

        def begun(*given: Any) -> Any:
            found = begin(*given)
            hold.wait()
            return found

        study.Asked.begin = begun
        assert attendance.study.Asked.begin is begun
    if hold_in == "finishing":
        tell = endings.tell

        def told(*given: Any) -> Any:
            hold.wait()
            return tell(*given)

        endings.tell = told
    worker.main(settings)


def _run(target: Callable[..., None], settings: Settings, *arguments: Any) -> None:
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=settings.state_dir / "journey.log", level=logging.INFO, force=True, format="%(process)d %(message)s"
    )
    target(settings, *arguments)
