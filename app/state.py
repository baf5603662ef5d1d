"""The state directory of a server: who holds it, and where that server answers."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

LOOKED_AT = 1.0  # seconds; `is_held` of another process takes the lock for a moment


@dataclass(frozen=True)
class Address:
    """A server that listens. pid: of its process on this machine."""

    url: str
    pid: int

    @classmethod
    def read(cls, state_dir: Path) -> Self | None:
        """The address written by the server of this directory; it may have died since."""
        try:
            return cls(**json.loads(_address_file(state_dir).read_text()))
        except FileNotFoundError:
            return None

    def write(self, state_dir: Path) -> None:
        # Written aside and renamed: a reader never sees half a file.
        draft = state_dir / f"server.json.{os.getpid()}"
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(_address_file(state_dir))


def crossover_file(state_dir: Path) -> Path:
    """What `snas bench calibrate` measured of this machine, for the workers on this directory."""
    return state_dir / "crossover.json"


class Occupied(Exception):
    """Another server holds the state directory: two reapers and two sets of workers would not know of each other."""

    def __init__(self, state_dir: Path) -> None:
        self.address = Address.read(state_dir)
        where = f"at {self.address.url}, process {self.address.pid}" if self.address else "still starting"
        super().__init__(f"another server already uses {state_dir}: {where}")


@contextmanager
def held(state_dir: Path) -> Iterator[None]:
    """Holds the directory for one server; the system frees it when the process ends, however it ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with _lock_file(state_dir).open("ab") as lock:
        _lock(lock, state_dir)
        _address_file(state_dir).unlink(missing_ok=True)  # left by a server that was killed
        try:
            yield
        finally:
            _address_file(state_dir).unlink(missing_ok=True)


def is_held(state_dir: Path) -> bool:
    try:
        with _lock_file(state_dir).open("rb") as lock:
            return not _try_lock(lock)
    except FileNotFoundError:
        return False


def _lock(file: BinaryIO, state_dir: Path) -> None:
    deadline = time.monotonic() + LOOKED_AT
    while not _try_lock(file):
        if time.monotonic() > deadline:
            raise Occupied(state_dir)
        time.sleep(0.05)


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(state_dir: Path) -> Path:
    return state_dir / "server.lock"


def _address_file(state_dir: Path) -> Path:
    return state_dir / "server.json"
