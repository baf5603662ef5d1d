"""The files of a run in the state directory: where its training goes on from, and what its trainer wrote to stderr.

A checkpoint carries the attempt in its name: a worker that was thought dead and wakes up writes to a name of its own.
Who takes the slot over first gives the file its own attempt's name, then reads it.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from app import tables
from app.claims import Claim
from app.database import reading
from app.runs import OPEN
from search import resumable

LAST_LINES, LAST_CHARACTERS = 20, 4000  # of a log
LAST_BYTES = 65536  # in which they are looked for, and which are kept
CRASH, FRAMES = "Fatal Python error", 10  # what the interpreter writes first, and how much of what follows is told
_NAME = re.compile(r"\.?(?P<job>\w+)\.(?P<stage>[a-z]+)-(?P<ordinal>\d+)\.(?P<attempt>\d+)\.(?P<what>.+)")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFiles:
    """What a trainer is told of them.

    log         to which it writes whatever goes to stderr
    checkpoint  to which it writes
    every       seconds between two checkpoints, at least
    epochs      behind the checkpoint that is there, from which the training goes on; 0 begins
    """

    log: Path
    checkpoint: Path
    every: float
    epochs: int


def log_file(state_dir: Path, job_id: str, stage: str, ordinal: int, attempt: int) -> Path:
    """On the host that trained it; there once the training has begun."""
    return logs_of(state_dir, job_id) / f"{stage}-{ordinal}.{attempt}.log"


def logs_of(state_dir: Path, job_id: str) -> Path:
    return state_dir / "logs" / "runs" / job_id


def checkpoint_file(state_dir: Path, job_id: str, stage: str, ordinal: int, attempt: int) -> Path:
    return _checkpoints(state_dir) / f"{job_id}.{stage}-{ordinal}.{attempt}.checkpoint"


def of(state_dir: Path, claim: Claim, every: float, epochs: int) -> RunFiles:
    who = (claim.job_id, claim.stage, claim.ordinal, claim.attempt)
    return RunFiles(log_file(state_dir, *who), checkpoint_file(state_dir, *who), every, epochs)


def tail(file: Path) -> str:
    """The end of a log, at most LAST_BYTES of it. Empty without a log."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - LAST_BYTES))
            text = opened.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL takes no NUL


def last_lines(text: str) -> str:
    """Of a log the last lines; of a crash in native code its innermost frames, which come first."""
    lines = text.splitlines()
    crashes = [number for number, line in enumerate(lines) if line.startswith(CRASH)]
    end = crashes[-1] + FRAMES if crashes else len(lines)
    return "\n".join(lines[:end][-LAST_LINES:]).strip()[-LAST_CHARACTERS:]


def take_over(
    state_dir: Path, claim: Claim, spec: Mapping[str, Any], assignment: Mapping[str, Any], data_hash: str
) -> Sequence[dict[str, Any]]:
    """The epochs behind the newest checkpoint of the claim's slot that a training can go on from, which is the claim's
    from now on; none where there is no such file.
    """
    own = checkpoint_file(state_dir, claim.job_id, claim.stage, claim.ordinal, claim.attempt)
    for left in _left(state_dir, claim):
        try:
            left.replace(own)
            return resumable.reports(own, spec, assignment, data_hash)
        except resumable.CheckpointError as error:
            log.warning("run %s cannot go on from its checkpoint: %s", claim.run_id, error)
            own.replace(own.with_suffix(".damaged"))
        except FileNotFoundError:
            continue  # a worker thought dead has taken the same file, and is fenced
        except OSError as error:
            log.warning("run %s cannot go on from its checkpoint: %s", claim.run_id, error)
    return ()


def clear(db: Engine, state_dir: Path) -> None:
    """Deletes the checkpoints of the slots that are over, whoever wrote them and however late. Raises: OSError"""
    # The files before the slots: one that is there belongs to a slot that is open, or was.
    found = {file: match for file in _files(state_dir) if (match := _NAME.fullmatch(file.name))}
    runs = tables.runs.c
    for job_id in {match["job"] for match in found.values()}:
        query = select(runs.stage, runs.ordinal).where(runs.job_id == job_id, runs.state.in_(OPEN))
        with reading(db) as connection:
            slots = {tuple(row) for row in connection.execute(query)}
        for file, match in found.items():
            if match["job"] == job_id and (match["stage"], int(match["ordinal"])) not in slots:
                file.unlink(missing_ok=True)  # another worker clears too


def _left(state_dir: Path, claim: Claim) -> list[Path]:
    """The checkpoints of the claim's slot, the newest attempt's first, and none of an attempt that came after it."""
    slot = (claim.job_id, claim.stage, str(claim.ordinal), "checkpoint")
    found = [match for file in _files(state_dir) if (match := _NAME.fullmatch(file.name))]
    mine = [match for match in found if match.group("job", "stage", "ordinal", "what") == slot]
    mine = [match for match in mine if int(match["attempt"]) <= claim.attempt]
    newest = sorted(mine, key=lambda match: int(match["attempt"]), reverse=True)
    return [_checkpoints(state_dir) / match.string for match in newest if not match.string.startswith(".")]


def _files(state_dir: Path) -> list[Path]:
    directory = _checkpoints(state_dir)
    return list(directory.iterdir()) if directory.is_dir() else []


def _checkpoints(state_dir: Path) -> Path:
    return state_dir / "checkpoints"
