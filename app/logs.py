"""Log lines, for people or for a collector of logs; each names the run that it is about."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from app.claims import Claim

_about: ContextVar[dict[str, Any] | None] = ContextVar("about", default=None)


@contextmanager
def about(claim: Claim) -> Iterator[None]:
    """What is logged inside names this run."""
    named = {"job": claim.job_id, "run": claim.run_id, "stage": claim.stage, "ordinal": claim.ordinal}
    token = _about.set({**named, "attempt": claim.attempt})
    try:
        yield
    finally:
        _about.reset(token)


def configure(role: str, form: str) -> None:
    """Logs of this process go to stderr. role: server, worker, ...; form: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(role) if form == "json" else _Text(role))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)


class _Text(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__(f"%(asctime)s {role} %(process)d %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's own name)
        named = _about.get()
        suffix = f" [job {named['job'][:8]} {named['stage']} {named['ordinal']}]" if named else ""
        return super().formatMessage(record) + suffix


class _Json(logging.Formatter):
    """One object a line: time, level, role, process, logger, message, and what it is about."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "role": self._role,
            "process": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
            **(_about.get() or {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
