"""A process that reads one uploaded file, with little memory and no connection, and says what is in it.

Whatever a file does to whoever reads it, it does to this process alone.
"""

import multiprocessing
import os
import resource
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from app.line import Died, be_killed_with
from models.data import formats
from models.data.preview import plain, preview
from models.data.refusal import DataError

COPIES = 3  # of the largest data set: as it is read, as numbers, and what is compared
BESIDE = 256 * 2**20  # bytes
LONGEST_REASON = 500  # characters

_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Accepted:
    format: str
    preview: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    reason: str


class Inspection:
    """The parent's end. Make it while no database connection is open."""

    def __init__(self, path: Path, name: str, label: str, largest: int) -> None:
        """largest: bytes that the arrays of the file may have"""
        self._pipe, theirs = _FORK.Pipe(duplex=False)
        given = (theirs, path, name, label, largest, os.getpid())
        self._process = _FORK.Process(target=_serve, args=given, daemon=True)
        self._process.start()
        theirs.close()

    def receive(self, seconds: float) -> Accepted | Refused | None:
        """What was found, None where it takes longer. Raises: app.line.Died."""
        try:
            if not self._pipe.poll(seconds):
                return None
            found: Accepted | Refused = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(1.0)
            code = self._process.exitcode
            how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
            raise Died(f"it ended {how}") from None
        return found

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()


def _serve(pipe: Connection, path: Path, name: str, label: str, largest: int, parent: int) -> None:
    be_killed_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # both reach a whole group of processes; the supervisor decides
    _limit_memory(COPIES * largest + BESIDE)
    pipe.send(_inspected(path, name, label, largest))


def _inspected(path: Path, name: str, label: str, largest: int) -> Accepted | Refused:
    try:
        format_ = formats.recognise(path, name)
        return Accepted(format_, preview(name, formats.read(path, name, format_, label, largest)))
    except DataError as error:
        return Refused(plain(str(error), LONGEST_REASON))
    except MemoryError:
        return Refused(f"{name}: reading it takes more memory than a data set of {largest:,} bytes needs")


def _limit_memory(further: int) -> None:
    """This process may take so many bytes beyond what it has mapped already."""
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + further
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
