"""Worker processes stood in for by small scripts: what matters is when they live and die."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from app import crew as module
from app.crew import Crew

OBEDIENT = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
)
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
STILLBORN = "raise SystemExit(3)"


class Started:
    """Every process a crew started."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.environments: list[Mapping[str, str]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.another = threading.Condition()

    def wait(self, count: int) -> None:
        with self.another:
            assert self.another.wait_for(lambda: len(self.processes) >= count, timeout=30)

    def __call__(self, _command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        self.environments.append(environment)
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", self.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdout is not None
        with process.stdout as output:
            output.readline()  # its signal handlers stand
        with self.another:
            self.processes.append(process)
            self.another.notify_all()
        return process


@contextmanager
def running(crew: Crew) -> Iterator[None]:
    crew.start()
    try:
        yield
    finally:
        crew.end()
        crew.join()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)


def test_a_killed_worker_is_replaced_and_none_is_left_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(OBEDIENT)
    monkeypatch.setattr(module.parent, "start", started)
    with running(Crew(2, ["worker"], grace_seconds=20)):
        started.wait(2)
        os.kill(started.processes[0].pid, signal.SIGKILL)
        started.wait(3)
    assert [process.returncode for process in started.processes] == [-signal.SIGKILL, -signal.SIGTERM, -signal.SIGTERM]


def test_a_worker_deaf_to_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(STUBBORN)
    monkeypatch.setattr(module.parent, "start", started)
    with running(Crew(1, ["worker"], grace_seconds=0.1)):
        started.wait(1)
    assert [process.returncode for process in started.processes] == [-signal.SIGKILL]


@pytest.mark.parametrize(("script", "hopeless"), [(STILLBORN, True), (KILLED, False)])
def test_a_crew_is_hopeless_when_every_worker_fails_young_by_its_own_fault(
    monkeypatch: pytest.MonkeyPatch, script: str, hopeless: bool
) -> None:
    started = Started(script)
    monkeypatch.setattr(module.parent, "start", started)
    crew = Crew(1, ["worker"], grace_seconds=20)
    assert not crew.is_hopeless
    with running(crew):
        started.wait(module.STILLBIRTHS + 1)
    assert crew.is_hopeless == hopeless


def test_a_worker_that_keeps_dying_is_started_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    place = module._Place(1, ["worker"], {})
    monkeypatch.setattr(module.parent, "start", Started(STILLBORN))
    pauses = []
    for _ in range(4):
        place._start_at = 0.0
        place.fill()
        assert place._process is not None
        place._process.wait()
        place.fill()
        pauses.append(place._pause)
    assert pauses == [0.02, 0.04, 0.08, 0.16]


def test_workers_share_the_gpus_evenly_and_see_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(OBEDIENT)
    monkeypatch.setattr(module.parent, "start", started)
    with running(Crew(3, ["worker"], grace_seconds=20, devices=("0", "GPU-8f2a"))):
        started.wait(3)
    seen = [environment["CUDA_VISIBLE_DEVICES"] for environment in started.environments]
    assert seen == ["0", "GPU-8f2a", "0"]
