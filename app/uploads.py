"""Uploaded files as this host has them: copies in the state directory, each named by its hash, made when needed."""

import os
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine

from app import blobs
from models.data.upload import SHA256, digest

LEFT_AFTER = 3600.0  # seconds; a draft that old was left by a process that was killed


def folder(state_dir: Path) -> Path:
    return state_dir.absolute() / "uploads"


class Damaged(RuntimeError):
    """What the database holds under a hash is something else."""


def fetch(db: Engine, state_dir: Path, sha256: str, alive: Callable[[], None] = lambda: None) -> Path:
    """The file, whose bytes have this hash; copied from the database unless it is here.

    alive  called after each chunk: a large file takes long

    Raises: blobs.BlobNotFound, Damaged; whatever `alive` raises
    """
    path = folder(state_dir) / sha256
    if _is_whole(path, sha256):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(db, path.parent)
    # Written aside and renamed: no other process ever reads half a file.
    draft = path.with_name(f"{sha256}.{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        with draft.open("xb") as file:
            for chunk in blobs.read(db, sha256):
                file.write(chunk)
                alive()
        if (found := digest(draft)) != sha256:
            raise Damaged(f"the uploaded file with the sha256 {sha256} is damaged in the database: it has {found}")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _is_whole(path: Path, sha256: str) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return _digest(path, stat.st_ino, stat.st_size, stat.st_mtime_ns) == sha256


@lru_cache(maxsize=64)
def _digest(path: Path, *_identity: int) -> str:
    # Once for each state of a file: a worker needs the same one run after run. Whoever reads it looks again.
    return digest(path)


def _clear(db: Engine, here: Path) -> None:
    """Removes copies of files that are kept no longer, and old drafts."""
    kept = blobs.known(db)
    for each in here.iterdir():
        is_draft = not SHA256.fullmatch(each.name)
        if (time.time() - each.stat().st_mtime > LEFT_AFTER) if is_draft else each.name not in kept:
            each.unlink(missing_ok=True)
