"""`snas submit`, `jobs`, `show`, `watch`, `cancel`, `share`: what talks to a server."""

import json
import sys
from typing import Annotated, Any
from urllib.parse import urljoin

import typer
from rich.console import Console

from app import progress
from app.cli import specfile
from app.cli.failures import FAILED
from app.cli.options import JobId, KeyFile, ServerState, SpecFile, Url, connect
from app.client import Client, Job
from app.printing import job_lines, jobs_table, result

WIDTH = 120  # columns where the output is no terminal


def submit(
    spec: SpecFile,
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="A second call with the same key and job makes no second job.")
    ] = None,
) -> None:
    """Queue a job; prints its id and its page."""
    value = specfile.read(spec)
    with connect(url, state_dir, key_file) as client:
        job = client.submit(value, idempotency_key)
        typer.echo(job["id"])
        typer.echo(page(client, job))


def jobs(
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
    state: Annotated[str | None, typer.Option("--only", metavar="STATE", help="Only jobs in this state.")] = None,
    text: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Only jobs with this in their name.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="Only jobs of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most, newest first.")] = 20,
) -> None:
    """List the jobs of a server."""
    with connect(url, state_dir, key_file) as client:
        items, more = client.page(limit=limit, state=state, text=text, owner=owner)
    out = console()
    out.print(jobs_table(items), crop=False)
    if more is not None:
        out.print("older jobs are not shown: raise --limit, or narrow with --only and --name")


def show(
    job_id: JobId,
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Show a job and what it found so far."""
    with connect(url, state_dir, key_file) as client:
        job = find(client, job_id)
        report = client.report(job["id"])
        where = page(client, job)
    print_report(report, as_json) if as_json else _print_job(job, report, where)


def watch(job_id: JobId, url: Url = None, state_dir: ServerState = None, key_file: KeyFile = None) -> None:
    """Follow a job until it ends.

    Exit code: 0 the job completed, 1 it failed or was cancelled.
    """
    with connect(url, state_dir, key_file) as client:
        job = find(client, job_id)
        with progress.display(Console(stderr=True)) as display:
            for latest in progress.follow(client, job["id"]):
                display.show(latest)
        job = latest
        report = client.report(job["id"])
        where = page(client, job)
    _print_job(job, report, where)
    if job["state"] != "completed":
        raise typer.Exit(FAILED)


def cancel(job_id: JobId, url: Url = None, state_dir: ServerState = None, key_file: KeyFile = None) -> None:
    """Cancel a job.

    Nothing new starts, and what is training stops within seconds.
    """
    with connect(url, state_dir, key_file) as client:
        job = client.cancel(find(client, job_id)["id"])
    typer.echo(f"{job['id']} {job['state'] if job['state'] == 'cancelled' else 'is being cancelled'}")


def share(
    job_id: JobId,
    stop: Annotated[bool, typer.Option("--stop", help="Keep it to its owner again.")] = False,
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
) -> None:
    """Let every caller of the server see a job; only its owner changes it."""
    with connect(url, state_dir, key_file) as client:
        job = client.share(find(client, job_id)["id"], not stop)
    typer.echo(f"{job['id']} is {'shared' if job['shared'] else 'not shared'}")


def find(client: Client, prefix: str) -> Job:
    """The one job whose id begins so. Raises: typer.BadParameter."""
    found = [job for job in client.jobs() if job["id"].startswith(prefix.lower())] if len(prefix) < 32 else None
    if found is None:
        return client.get(prefix)
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} jobs have an id" if found else "no job has an id"
    raise typer.BadParameter(f"{what} that begins with {prefix!r}", param_hint="ID")


def page(client: Client, job: Job) -> str:
    return urljoin(f"{client.url}/", str(job["links"]["page"]))


def console() -> Console:
    """stdout, wide enough for the tables where it is a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def print_report(report: dict[str, Any], as_json: bool) -> None:
    """The report on stdout: one JSON object, or tables."""
    if as_json:
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
        return
    console().print(result(report), crop=False)


def _print_job(job: Job, report: dict[str, Any], where: str) -> None:
    console().print(job_lines(job))
    print_report(report, as_json=False)
    typer.echo(f"page: {where}")
