"""The worker processes of a server: started, replaced when they die, ended with it."""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

from app import parent
from app.devices import of_place

LOOK_EVERY = 0.2  # seconds
FIRST_PAUSE = 0.5  # seconds before a dead worker is replaced; doubled while it keeps dying young
LONGEST_PAUSE = 30.0
YOUNG = 60.0  # seconds; a worker that lived longer starts again from the first pause
STILLBIRTHS = 4  # failures of young workers, in each place; where none ever lived longer, none will

log = logging.getLogger(__name__)


class Crew:
    """`size` worker processes, each running `snas COMMAND`.

    grace_seconds  given to a worker between SIGTERM and SIGKILL
    devices        GPUs, of which each worker sees one
    """

    def __init__(self, size: int, command: Sequence[str], grace_seconds: float, devices: tuple[str, ...] = ()) -> None:
        self._places = [_Place(number, command, of_place(devices, number - 1)) for number in range(1, size + 1)]
        self._grace_seconds = grace_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="crew")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Asks every worker to end; may be called from a signal handler."""
        self._ending.set()

    @property
    def is_hopeless(self) -> bool:
        """Whether no worker ever came to life: the fault is then none that passes."""
        return bool(self._places) and all(place.stillbirths >= STILLBIRTHS for place in self._places)

    def join(self) -> None:
        """Waits until no worker is left."""
        self._thread.join()

    def _look_after(self) -> None:
        while not self._ending.is_set():
            for place in self._places:
                place.fill()
            self._ending.wait(LOOK_EVERY)
        for place in self._places:
            place.dismiss()
        deadline = time.monotonic() + self._grace_seconds
        for place in self._places:
            place.clear(deadline)


class _Place:
    """One worker after another."""

    def __init__(self, number: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._number = number
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._start_at = 0.0
        self._pause = FIRST_PAUSE
        self._ever_lived = False
        self.stillbirths = 0

    def fill(self) -> None:
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            self._bury(now)
        if self._process is None and now >= self._start_at:
            self._process = parent.start(self._command, environment=self._environment)
            self._started = now
            log.info("worker %d started, process %d", self._number, self._process.pid)

    def _bury(self, now: float) -> None:
        assert self._process is not None
        code = self._process.returncode
        died_young = now - self._started <= YOUNG
        self._ever_lived |= not died_young
        if code > 0 and not self._ever_lived:  # negative: killed, which is no fault of its own
            self.stillbirths += 1
        self._pause = min(2 * self._pause, LONGEST_PAUSE) if died_young else FIRST_PAUSE
        self._start_at = now + self._pause
        log.warning("worker %d ended with code %d; the next one starts in %.1f s", self._number, code, self._pause)
        self._forget()

    def dismiss(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def clear(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("worker %d did not end in time and was killed", self._number)
            os.killpg(self._process.pid, signal.SIGKILL)  # its trainer too
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None
