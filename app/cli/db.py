"""`snas db`: the two databases, kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.failures import FAILED, say
from app.cli.options import STATE_DIR, StateDir
from app.cli.serving import settings_of

db = typer.Typer(
    name="db",
    help="Upgrade, back up and restore the databases of --state, or of SNAS_DATABASE_URL.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Copy = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the copy.")]


@db.command()
def upgrade(state_dir: StateDir = STATE_DIR) -> None:
    """Bring both databases to this version's tables; makes them where there are none.

    Servers and workers do it when they start. Back up first.
    """
    from app import database, readiness

    settings = settings_of(state_dir, None)
    database.upgrade(settings)
    made = database.engine(settings)
    typer.echo(f"the jobs database is at revision {readiness.current(made)}")
    made.dispose()


@db.command()
def backup(directory: Copy, state_dir: StateDir = STATE_DIR) -> None:
    """Copy both databases as they are at one moment into a new directory; servers and workers may go on."""
    from app import backup

    try:
        made = backup.backup(settings_of(state_dir, None), directory)
    except backup.CannotBackUp as error:
        say(str(error))
        raise typer.Exit(FAILED) from None
    typer.echo(f"{made.jobs:,} jobs and {made.trials:,} trials copied to {directory}")


@db.command()
def restore(directory: Copy, state_dir: StateDir = STATE_DIR) -> None:
    """Fill an empty --state, or an empty PostgreSQL, from a copy; what was training then is trained again."""
    from app import backup

    try:
        found = backup.restore(settings_of(state_dir, None), directory)
    except backup.CannotRestore as error:
        say(str(error))
        raise typer.Exit(FAILED) from None
    made = datetime.fromtimestamp(found.made, UTC).strftime("%Y-%m-%d %H:%M UTC")
    typer.echo(f"{found.jobs:,} jobs and {found.trials:,} trials are back as they were at {made}")
