"""`snas serve`, `snas worker` and `snas reaper`: the processes that do the work."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import parent
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
        int | None,
        typer.Option(
            min=0, help="Worker processes to run beside the server.", show_default="one per GPU, else per core"
        ),
    ] = None,
    reaper: Annotated[
        bool, typer.Option(help="Whether the server also picks up what killed workers left; else run `snas reaper`.")
    ] = True,
    state_dir: StateDir = STATE_DIR,
    data_dir: DataDir = None,
    with_parent: WithParent = False,
) -> None:
    """Run a server and its workers until Ctrl-C.

    REST under /api/v1, pages under /ui, the Optuna dashboard under /dashboard.
    """
    settings = settings_of(state_dir, data_dir)
    os.environ.pop("SNAS_FIRST_KEY", None)  # the workers, which inherit the rest, have no use for it
    _prepare("server", settings, with_parent)
    from app import serve as server
    from app.devices import InvalidDevices

    try:
        with _writable(state_dir):
            server.serve(settings, host, port, workers, reaper)
    except (server.CannotListen, InvalidDevices) as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    except server.NoWorker as error:
        say(str(error))
        raise typer.Exit(FAILED) from None


def worker(state_dir: StateDir = STATE_DIR, data_dir: DataDir = None, with_parent: WithParent = False) -> None:
    """Run one more worker.

    It shares the jobs of the server on --state, or on the database of SNAS_DATABASE_URL.
    """
    settings = settings_of(state_dir, data_dir)
    _prepare("worker", settings, with_parent)
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


def reaper(state_dir: StateDir = STATE_DIR, with_parent: WithParent = False) -> None:
    """Pick up what killed workers left, in a process of its own.

    Every server does so by itself, unless told --no-reaper. Of several reapers one leads, and another where it ends.
    """
    settings = settings_of(state_dir, None)
    _prepare("reaper", settings, with_parent)
    from app import reaper as process

    with _writable(state_dir):
        process.main(settings)


def settings_of(state_dir: Path, data_dir: Path | None) -> "Settings":
    """What these options and the environment say. Raises: typer.BadParameter."""
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


def _prepare(role: str, settings: "Settings", with_parent: bool) -> None:
    # Read by torch, BLAS and Numba when they are imported, so before anything imports them.
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    if not os.access(KERNELS, os.W_OK):  # where Numba keeps what it compiled unless told otherwise
        os.environ.setdefault("NUMBA_CACHE_DIR", str(settings.state_dir / "numba"))
    from app import logs

    logs.configure(role, settings.log_format)
    if with_parent:
        parent.follow()
