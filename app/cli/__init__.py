"""The command line `snas`. What only talks to a server imports neither torch, optuna, numba nor the server."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from app.cli import bench, data, db, jobs, keys, revising, run, serving
from app.cli.failures import report_failures

cli = typer.Typer(
    name="snas",
    help="Finds which connections a neural network needs: a search over layer densities, as a service.",
    epilog="Start with: snas run examples/digits_mlp.json",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes break messages, and paths in them, into lines
)
for command in (
    run.run,
    serving.serve,
    serving.worker,
    serving.reaper,
    jobs.submit,
    jobs.jobs,
    jobs.show,
    jobs.watch,
    jobs.cancel,
    revising.pause,
    revising.resume,
    revising.clone,
    revising.change,
    jobs.share,
    keys.init,
    keys.audit,
):
    cli.command()(command)
cli.add_typer(keys.keys)
cli.add_typer(bench.bench)
cli.add_typer(db.db)
cli.add_typer(data.data)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"snas {version('snas')}")
        raise typer.Exit


@cli.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    with report_failures():
        cli()
    sys.exit(0)
