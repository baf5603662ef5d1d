"""`snas data upload`, `list`, `show`, `delete`: data sets that a server keeps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from app.cli.failures import FAILED
from app.cli.jobs import console
from app.cli.options import ServerState, Url, address
from app.cli.specfile import InvalidFile
from app.client import Client, Dataset
from app.printing import dataset_lines, datasets_table

LOOK_EVERY = 0.5  # seconds

data = typer.Typer(name="data", help="Data sets that a server keeps: upload, list, show, delete.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="NAME", help="The data set's name, or its id.")]


@data.command()
def upload(
    file: Annotated[Path, typer.Argument(help="A .npz, a .csv, or a .zip of the four idx files.", dir_okay=False)],
    name: Annotated[str | None, typer.Option(help="What jobs call it.", show_default="the file's name")] = None,
    label: Annotated[str, typer.Option(help="The target column, of a .csv.")] = "label",
    wait: Annotated[bool, typer.Option("--wait", help="Until a worker has read it.")] = False,
    url: Url = None,
    state_dir: ServerState = None,
) -> None:
    """Upload a file; prints its id.

    A worker then reads it: `show` tells what it found. Exit code with --wait: 0 it can be used, 1 it was refused.
    """
    with Client(address(url, state_dir)) as client:
        try:
            with file.open("rb") as opened, _progress(file) as sent:
                kept = client.upload(name or file.stem, opened, file.stat().st_size, label, sent)
        except OSError as error:
            raise InvalidFile(f"{file}: cannot be read: {(error.strerror or str(error)).lower()}") from None
        typer.echo(kept["id"])
        while wait and kept["state"] in ("uploaded", "validating"):
            time.sleep(LOOK_EVERY)
            kept = client.dataset(kept["id"])
    if wait:
        console().print(dataset_lines(kept))
    if kept["state"] == "refused":
        raise typer.Exit(FAILED)


@data.command("list")
def list_(url: Url = None, state_dir: ServerState = None) -> None:
    """List your data sets, newest first."""
    with Client(address(url, state_dir)) as client:
        found = list(client.datasets())
    console().print(datasets_table(found), crop=False)


@data.command()
def show(which: Which, url: Url = None, state_dir: ServerState = None) -> None:
    """Show what is in a data set."""
    with Client(address(url, state_dir)) as client:
        console().print(dataset_lines(_find(client, which)))


@data.command()
def delete(which: Which, url: Url = None, state_dir: ServerState = None) -> None:
    """Delete a data set that no unfinished job trains on."""
    with Client(address(url, state_dir)) as client:
        found = _find(client, which)
        client.delete_dataset(found["id"])
    typer.echo(f"{found['name']} is deleted")


def _find(client: Client, which: str) -> Dataset:
    """Raises: typer.BadParameter."""
    found = next((each for each in client.datasets() if which in (each["name"], each["id"])), None)
    if found is None:
        raise typer.BadParameter(f"no data set has the name or id {which!r}", param_hint="NAME")
    return found


@contextmanager
def _progress(file: Path) -> Iterator[Callable[[int], None]]:
    """What to call with the bytes that were sent so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(file.name, total=file.stat().st_size)
        yield lambda sent: shown.update(task, completed=sent)
