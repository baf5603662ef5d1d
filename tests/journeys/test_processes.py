"""A server and its workers as processes: started, killed, ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import PATIENCE, children, descendants, is_alive, until

from app import local, state
from app.client import Client, Refused
from app.local import Local


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Local]:
    with local.server(tmp_path, None, workers=1) as started:
        assert started.process is not None
        yield started


def pid(server: Local) -> int:
    assert server.process is not None
    return server.process.pid


def worker_of(server: Local) -> int:
    """A worker with its trainer."""
    until(lambda: len(descendants(pid(server))) >= 2)
    [worker] = children(pid(server))
    return worker


def test_a_server_answers_guards_its_directory_replaces_a_killed_worker_and_ends_cleanly(
    server: Local, tmp_path: Path
) -> None:
    with Client(server.url) as client:
        assert client.is_ready()
        assert client.page() == ([], None)
        with pytest.raises(Refused) as caught:
            client.get("0" * 32)
        assert caught.value.status == 404

    # A second server on the directory is told whose it is.
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--state", str(tmp_path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert second.returncode == 1
    assert f"{server.url}, process {pid(server)}" in second.stderr
    assert "Traceback" not in second.stderr

    # A killed worker is replaced, and its trainer does not outlive it.
    first = worker_of(server)
    orphans = children(first)
    os.kill(first, signal.SIGKILL)
    until(lambda: children(pid(server)) not in ([], [first]))
    until(lambda: not any(map(is_alive, orphans)))

    # SIGTERM ends all of it.
    worker_of(server)
    family = [pid(server), *descendants(pid(server))]
    os.kill(pid(server), signal.SIGTERM)
    assert server.process is not None
    assert server.process.wait(PATIENCE) == 0
    assert not any(map(is_alive, family))
    assert not state.is_held(tmp_path)
    assert state.Address.read(tmp_path) is None


def test_workers_do_not_outlive_a_killed_server(server: Local, tmp_path: Path) -> None:
    worker_of(server)
    family = descendants(pid(server))
    os.kill(pid(server), signal.SIGKILL)
    until(lambda: not any(map(is_alive, family)))
    with pytest.raises(local.ServerDied, match=r"ended by signal 9(.|\n)*listening on"):
        until(server.check)
