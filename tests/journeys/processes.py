"""Who runs under whom, read from /proc."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 300.0  # seconds; a hang, not a slow machine


def children(pid: int) -> list[int]:
    return [child for child, parent in _parents().items() if parent == pid]


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def is_alive(pid: int) -> bool:
    try:
        return _stat(Path(f"/proc/{pid}"))[0] != "Z"
    except OSError:
        return False


def until(look: Callable[[], T], patience: float = PATIENCE) -> T:
    """What `look` gives once it is true."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def _parents() -> dict[int, int]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = int(_stat(Path("/proc") / entry)[1])
            except OSError:  # it ended while we looked
                continue
    return found


def _stat(process: Path) -> list[str]:
    # state, parent, ...; the name before them may hold anything but ends with the last bracket
    return (process / "stat").read_text().rpartition(")")[2].split()
