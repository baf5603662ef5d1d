"""Processes that end with the one that started them, even when that one is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

WITH_PARENT = "--with-parent"


def start(
    command: Sequence[str], log: IO[bytes] | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts `snas COMMAND` as a child that watches for our end; its output goes to `log`, or to our stderr.

    environment  beside our own
    """
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *command, WITH_PARENT],
        stdin=subprocess.PIPE,  # never written: its end is the sign
        stdout=log or sys.stderr.fileno(),
        stderr=log or sys.stderr.fileno(),
        # Its own session: Ctrl-C in a terminal reaches the parent alone, which ends its children in the right order.
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )


def follow() -> None:
    """In the child: asks for the ordinary end (SIGTERM) when the parent has gone."""
    threading.Thread(target=_wait, name="parent", daemon=True).start()


def _wait() -> None:
    # A raw read: the buffered one of sys.stdin holds a lock that the interpreter needs at exit.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
