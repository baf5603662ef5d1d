"""What a training writes to stderr, and what the interpreter writes there when it crashes, in a file of the run's own.

In the trainer's process. A process killed at once writes nothing more, so the file is written to by its descriptor.
"""

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator

from app.run_files import RunFiles

STDERR = 2

log = logging.getLogger(__name__)


def prepare() -> None:
    """Once in a process: what the worker says stays in the worker's own log, and a crash leaves where it was."""
    own = os.fdopen(os.dup(STDERR), "w", buffering=1)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            handler.setStream(own)
    faulthandler.enable(file=STDERR, all_threads=False)


@contextlib.contextmanager
def written_to(files: RunFiles | None) -> Iterator[None]:
    """Where the file cannot be made, the worker's own log takes what is written."""
    if files is None:
        yield
        return
    try:
        files.log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        log.warning("no log of the run could be made in %s: %s", files.log.parent, error.strerror or error)
        yield
        return
    before = os.dup(STDERR)
    os.dup2(file, STDERR)
    os.close(file)
    try:
        yield
    finally:
        os.dup2(before, STDERR)
        os.close(before)


def note(text: str) -> None:
    """Writes to wherever stderr goes."""
    with contextlib.suppress(OSError):  # a full disk must not make a crash of what is only told
        os.write(STDERR, text.encode(errors="replace"))
