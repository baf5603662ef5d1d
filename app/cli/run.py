"""`snas run`: one job from its file to its verdict, through the same server, queue and workers as in production."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from app import local, progress, state
from app.cli import specfile
from app.cli.failures import FAILED, INTERRUPTED
from app.cli.jobs import page, print_report
from app.cli.options import STATE_DIR, DataDir, SpecFile, StateDir
from app.cli.serving import settings_of
from app.client import ENDED, KEY_VARIABLE, Client, Job, Refused, Unreachable

PATIENCE = 5.0  # seconds without an answer; our own server is dead by then
CANCELLED_WITHIN = 15.0  # seconds


def run(
    spec: SpecFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    state_dir: StateDir = STATE_DIR,
    data_dir: DataDir = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials trained at the same time.", show_default="one per core")
    ] = None,
) -> None:
    """Run one job from its file to its verdict.

    Starts a server and workers for it, or uses those that run on --state already.

    Exit code: 0 the job completed, 1 it failed or was cancelled, 2 the job or an option is wrong.
    """
    value = specfile.read(spec)
    _validate(spec, value)
    notes = Console(stderr=True, highlight=False)
    with _interruptible() as is_interrupted:
        job, report, where = _run(value, state_dir, data_dir, workers or local.cores(), notes, is_interrupted)
    file = _keep(report, state_dir, job["id"])
    print_report(report, as_json)
    if not as_json:
        _print_places(job, file, state_dir, where)
    if job["state"] != "completed":
        _note(notes, f"the job {job['state']}: {job['error'] or 'no reason was given'}")
        raise typer.Exit(FAILED)


def _run(
    value: dict[str, Any],
    state_dir: Path,
    data_dir: Path | None,
    workers: int,
    notes: Console,
    is_interrupted: Callable[[], bool],
) -> tuple[Job, dict[str, Any], str | None]:
    """The ended job, its report, and its page where the server stays."""
    if not state.is_held(state_dir):
        _note(notes, f"starting a server on {state_dir} ...")
    with (
        local.server(state_dir, data_dir, workers) as server,
        _key(state_dir) as key,
        Client(server.url, key=key) as client,
    ):
        if server.process is None:
            _note(notes, f"a server runs on {state_dir} already, {server.url}: its workers and data directory are used")
        else:
            _note(notes, f"its log is {server.log}")
        job = client.submit(value)
        _note(notes, f"job {job['id']}: {page(client, job)}")
        try:
            job = _follow(client, job, server, state_dir, notes, is_interrupted)
        except KeyboardInterrupt:
            _cancel(client, job, notes)
            raise typer.Exit(INTERRUPTED) from None
        return job, client.report(job["id"]), page(client, job) if server.process is None else None


@contextmanager
def _key(state_dir: Path) -> Iterator[str | None]:
    """A key for as long as this command runs, where the server needs one and none was given.

    Whoever may write its databases needs nobody's leave.
    """
    if os.environ.get(KEY_VARIABLE):
        yield None
        return
    from app import database, keys
    from app.callers import SUBMIT

    db = database.engine(settings_of(state_dir, None))
    try:
        with keys.borrowed(db, SUBMIT, f"snas run, process {os.getpid()}") as key:
            yield key
    finally:
        db.dispose()


def _validate(path: Path, value: dict[str, Any]) -> None:
    # Before anything is started or made; what only the data can show, the server says.
    from search.faults import InvalidSpec
    from search.spec import parse

    try:
        parse(value)
    except InvalidSpec as error:
        raise specfile.InvalidFile(f"{path}: not a valid job", error.faults) from None


def _follow(
    client: Client,
    job: Job,
    server: local.Local,
    state_dir: Path,
    notes: Console,
    is_interrupted: Callable[[], bool],
) -> Job:
    try:
        with progress.display(notes) as display:
            for latest in progress.follow(client, job["id"], PATIENCE):
                display.show(latest)
                if is_interrupted():
                    raise KeyboardInterrupt
    except Unreachable as error:
        server.check()
        raise Unreachable(f"{error}; the job is kept, `snas serve --state {state_dir}` goes on with it") from None
    return latest


def _cancel(client: Client, job: Job, notes: Console) -> None:
    _note(notes, "cancelling ...")
    try:
        client.cancel(job["id"])
    except Refused:  # it ended in the meantime
        return
    deadline = time.monotonic() + CANCELLED_WITHIN
    while client.get(job["id"])["state"] not in ENDED and time.monotonic() < deadline:
        time.sleep(0.1)


def _keep(report: dict[str, Any], state_dir: Path, job_id: str) -> Path:
    file = state_dir / "reports" / f"{job_id}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return file


def _print_places(job: Job, file: Path, state_dir: Path, where: str | None) -> None:
    typer.echo(f"report: {file}")
    if where is None:
        typer.echo(f"pages:  snas serve --state {state_dir}, then http://127.0.0.1:8000{job['links']['page']}")
    else:
        typer.echo(f"page:   {where}")


def _note(notes: Console, text: str) -> None:
    notes.print(text, markup=False, soft_wrap=True)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and a request to end are one: the job is cancelled and the server ended first.

    Whether one of them came is to be asked for as well: an exception that a signal raises within a destructor is lost.
    """
    asked = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # a second one must not cut the cleaning up short
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
