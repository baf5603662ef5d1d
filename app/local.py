"""A server of our own for one command: found on the state directory, or started there and ended afterwards."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import parent, state
from app.client import Client

STARTS_WITHIN = 120.0  # seconds; importing torch takes long on a busy machine
ENDS_WITHIN = 20.0  # seconds; then it is killed, and its workers with it
LOOK_EVERY = 0.05  # seconds


class ServerDied(Exception):
    """The server ended though nobody asked it to."""


@dataclass
class Local:
    """process: None for a server that was there before us, which stays."""

    url: str
    process: subprocess.Popen[bytes] | None
    log: Path

    def check(self) -> None:
        """Raises: ServerDied, with the end of its log."""
        if self.process is not None and self.process.poll() is not None:
            raise ServerDied(_obituary(self.process.returncode, self.log))


@contextmanager
def server(state_dir: Path, data_dir: Path | None, workers: int) -> Iterator[Local]:
    """Raises: ServerDied when it does not come up."""
    log = state_dir / "logs" / "server.log"
    if state.is_held(state_dir):
        yield Local(_wait_for_other(state_dir, log).url, None, log)
        return
    process = _start(state_dir, data_dir, workers, log)
    try:
        yield Local(_wait_for_own(process, state_dir, log).url, process, log)
    finally:
        _end(process)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _start(state_dir: Path, data_dir: Path | None, workers: int, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["serve", "--port", "0", "--workers", str(workers), "--state", str(state_dir)]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    with log.open("ab") as output:
        return parent.start(command, output)


def _wait_for_own(process: subprocess.Popen[bytes], state_dir: Path, log: Path) -> state.Address:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerDied(_obituary(process.returncode, log))
        address = state.Address.read(state_dir)
        if address is not None and address.pid == process.pid:
            return address
        time.sleep(LOOK_EVERY)
    raise ServerDied(f"the server did not start within {STARTS_WITHIN:.0f} s; its log is {log}")


def _wait_for_other(state_dir: Path, log: Path) -> state.Address:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        address = state.Address.read(state_dir)
        if address is not None:
            with Client(address.url) as client:
                if client.is_ready():
                    return address
        time.sleep(LOOK_EVERY)
    raise ServerDied(f"another process holds {state_dir}, but no server answers for it; see {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()  # its workers see the end of their parent
        process.wait()
    assert process.stdin is not None
    process.stdin.close()


def _obituary(code: int, log: Path) -> str:
    ended = f"by signal {-code}" if code < 0 else f"with code {code}"
    last = "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-5:])
    return f"the server ended {ended}; the last lines of {log}:\n{last}"
