"""`snas serve` and `snas worker`: the processes that do the work."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import local, parent
from app.cli.failures import BAD_INPUT, FAILED, say
from app.cli.options import STATE_DIR, DataDir, StateDir

if TYPE_CHECKING:
    from app.settings import Settings

WithParent = Annotated[bool, typer.Option(parent.WITH_PARENT, hidden=True)]

DISK = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT)
"""What a disk, not a program, is at fault for."""
KERNELS = Path(__file__).parents[2] / "models" / "kernels"
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""A trial trains on one core: many side by side use a machine best, and sums are taken in one order."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8000,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Worker processes to run beside the server.", show_default="one per core")
    ] = None,
    state_dir: StateDir = STATE_DIR,
    data_dir: DataDir = None,
    with_parent: WithParent = False,
) -> None:
    """Run a server and its workers until Ctrl-C.

    REST under /api/v1, pages under /ui, the Optuna dashboard under /dashboard.
    """
    settings = _settings(state_dir, data_dir)
    _prepare("server", state_dir, with_parent)
    from app import serve as server

    try:
        with _writable(state_dir):
            server.serve(settings, host, port, local.cores() if workers is None else workers)
    except server.CannotListen as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except server.NoWorker as error:
        say(str(error))
        raise typer.Exit(FAILED) from None


def worker(state_dir: StateDir = STATE_DIR, data_dir: DataDir = None, with_parent: WithParent = False) -> None:
    """Run one more worker.

    It shares the jobs of the server on --state, or on the database of SNAS_DATABASE_URL.
    """
    settings = _settings(state_dir, data_dir)
    _prepare("worker", state_dir, with_parent)
    from app import worker as process

    with _writable(state_dir):
        process.main(settings)


@contextmanager
def _writable(state_dir: Path) -> Iterator[None]:
    """Says which fault of the disk ended the process."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError

    from app import outages

    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        said = (error.strerror or str(error)).lower()
        say(f"the state directory {state_dir.absolute()} cannot be written: {said}")
        raise typer.Exit(FAILED) from None
    except (DBAPIError, StorageInternalError) as error:
        if not outages.is_outage(error):
            raise
        say(outages.reason(error, state_dir.absolute()))
        raise typer.Exit(FAILED) from None


def _settings(state_dir: Path, data_dir: Path | None) -> "Settings":
    from pydantic import ValidationError

    from app.settings import Settings

    given: dict[str, Any] = {"state_dir": state_dir.absolute()}
    if data_dir is not None:
        given["data_dir"] = data_dir.absolute()
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = [f"SNAS_{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise typer.BadParameter("; ".join(faults)) from None


def _prepare(role: str, state_dir: Path, with_parent: bool) -> None:
    # Read by torch, BLAS and Numba when they are imported, so before anything imports them.
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if not os.access(KERNELS, os.W_OK):  # where Numba keeps what it compiled unless told otherwise
        os.environ.setdefault("NUMBA_CACHE_DIR", str(state_dir.absolute() / "numba"))
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s {role} %(process)d %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if with_parent:
        parent.follow()
