"""`snas pause`, `resume`, `clone`, `change`: what an owner does to a job that is there."""

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import specfile
from app.cli.jobs import find, page
from app.cli.options import JobId, ServerState, Url, address
from app.client import Client, Job


def pause(job_id: JobId, url: Url = None, state_dir: ServerState = None) -> None:
    """Halt a job.

    Nothing new starts, what is training is given back unfinished, its deadline stands still.
    """
    with Client(address(url, state_dir)) as client:
        _print_state(client.pause(find(client, job_id)["id"]))


def resume(job_id: JobId, url: Url = None, state_dir: ServerState = None) -> None:
    """Let a paused job go on where it was."""
    with Client(address(url, state_dir)) as client:
        _print_state(client.resume(find(client, job_id)["id"]))


def clone(
    job_id: JobId,
    changes: Annotated[
        Path | None, typer.Argument(metavar="CHANGES.json", help="Fields of the job, in place of the old one's.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The new job's name.")] = None,
    url: Url = None,
    state_dir: ServerState = None,
) -> None:
    """Queue a job like another; prints its id and its page."""
    changed = {} if changes is None else specfile.read(changes)
    with Client(address(url, state_dir)) as client:
        job = client.clone(find(client, job_id)["id"], changed if name is None else {**changed, "name": name})
        typer.echo(job["id"])
        typer.echo(page(client, job))


def change(
    job_id: JobId,
    trials: Annotated[
        int | None, typer.Option(help="So many in all, more than now. A completed job goes on, then is confirmed anew.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher comes first.")] = None,
    max_parallel: Annotated[int | None, typer.Option(help="At most so many runs at once.")] = None,
    unlimited: Annotated[bool, typer.Option("--unlimited", help="Any number of runs at once.")] = False,
    url: Url = None,
    state_dir: ServerState = None,
) -> None:
    """Change a job's trials, priority or limit of runs at once."""
    if unlimited and max_parallel is not None:
        raise typer.BadParameter("--unlimited and --max-parallel exclude each other")
    given = {"trials": trials, "priority": priority, "max_parallel": max_parallel}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if unlimited:
        changes["max_parallel"] = None
    if not changes:
        raise typer.BadParameter("nothing to change: give --trials, --priority, --max-parallel or --unlimited")
    with Client(address(url, state_dir)) as client:
        _print_state(client.change(find(client, job_id)["id"], changes))


def _print_state(job: Job) -> None:
    typer.echo(f"{job['id']} {job['state']}")
