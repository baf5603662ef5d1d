"""A database that does not answer, or takes nothing: what is wrong with it, and how long it is asked again."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, OperationalError

from app.settings import Settings

T = TypeVar("T")

PAUSE = 0.5  # seconds between two attempts

log = logging.getLogger(__name__)


class NoAnswer(Exception):
    """The database did not answer until the end of this process: what it would have written is not written."""


class Patience:
    """Repeats a step until the database answers; for steps that may be repeated after an end that nobody knows."""

    def __init__(self, settings: Settings, stopping: Callable[[], bool]) -> None:
        """stopping: whether this process was asked to end; the step is then given up after the grace of a trainer."""
        self._settings, self._stopping = settings, stopping
        self._give_up_at: float | None = None
        self._over = float("-inf")

    def __call__(self, step: Callable[[], T]) -> T:
        """Raises: NoAnswer; whatever else the step raises."""
        said: str | None = None
        while True:
            try:
                done = step()
            except (DBAPIError, StorageInternalError) as error:
                if not is_outage(error):
                    raise
                now = reason(error, self._settings.state_dir)
                if now != said:
                    log.warning("%s; trying again until it works", now)
                said = now
                self._wait(now)
                continue
            if said is not None:
                log.warning("the database works again")
                self._over = time.monotonic()
            return done

    @property
    def is_recent(self) -> bool:
        """Whether an outage ended less than a lease ago: who held a run before it needs time to show itself."""
        return time.monotonic() - self._over < self._settings.lease_seconds

    def _wait(self, why: str) -> None:
        if self._stopping():
            now = time.monotonic()
            self._give_up_at = self._give_up_at or now + self._settings.grace_seconds
            if now >= self._give_up_at:
                raise NoAnswer(f"{why}; it was given up, as the worker is to end")
        time.sleep(PAUSE)


def is_outage(error: BaseException) -> bool:
    """Whether the fault is the database's and may pass: it is gone, locked, full, or on a disk that is read-only."""
    # Optuna wraps what SQLAlchemy raises.
    fault = error.__cause__ if isinstance(error, StorageInternalError) else error
    if isinstance(fault, OperationalError):
        # SQLite calls a statement that it does not understand operational too: that will not pass.
        return getattr(fault.orig, "sqlite_errorname", None) != "SQLITE_ERROR"
    return isinstance(fault, DBAPIError) and fault.connection_invalidated


def is_full(error: BaseException) -> bool:
    """Whether there is no space left where the database is."""
    return "disk is full" in _said(error) or "No space left" in _said(error)


def is_read_only(error: BaseException) -> bool:
    return "readonly database" in _said(error) or "read-only" in _said(error)


def reason(error: BaseException, state_dir: Path) -> str:
    """One line for the log."""
    if is_full(error):
        return f"no space is left for the database (state directory {state_dir}): {_said(error)}"
    if is_read_only(error):
        return f"the database cannot be written (state directory {state_dir}): {_said(error)}"
    return f"the database does not answer (state directory {state_dir}): {_said(error)}"


def _said(error: BaseException) -> str:
    fault = error.__cause__ if isinstance(error, StorageInternalError) else error
    words = str(fault.orig if isinstance(fault, DBAPIError) else fault).splitlines()
    return words[0] if words else type(fault).__name__
