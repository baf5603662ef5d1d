"""`snas init`, `snas keys`, `snas audit`: who may talk to a server, and who did."""

from typing import Annotated

import typer

from app.cli.failures import BAD_INPUT, say
from app.cli.jobs import console
from app.cli.options import STATE_DIR, KeyFile, ServerState, StateDir, Url, connect
from app.cli.serving import settings_of
from app.printing import audit_table, keys_table

keys = typer.Typer(name="keys", help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)


def init(
    state_dir: StateDir = STATE_DIR,
    recover: Annotated[
        bool, typer.Option("--recover", help="Make another administrator's key though there are keys, all lost.")
    ] = False,
) -> None:
    """Make the first key, an administrator's, and print it: this once.

    From then on every request to a server on --state needs a key.
    """
    from app import database
    from app import keys as store

    settings = settings_of(state_dir, None)
    database.upgrade(settings)
    db = database.engine(settings)
    text = store.generate()
    try:
        store.create_first(db, text, recover=recover)
    except store.KeysExist as error:
        say(str(error))
        raise typer.Exit(BAD_INPUT) from None
    finally:
        db.dispose()
    typer.echo(text)
    typer.echo("Keep it: it is not stored and cannot be shown again. Give it as SNAS_API_KEY or --key-file.", err=True)


@keys.command()
def generate() -> None:
    """Print a key that no server knows yet, to be given to one as SNAS_FIRST_KEY_FILE."""
    from app import keys as store

    typer.echo(store.generate())


@keys.command()
def create(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Whose jobs it makes and sees.")],
    scope: Annotated[str, typer.Option(help="read, submit or admin; each includes those before it.")] = "submit",
    name: Annotated[str, typer.Option(help="What it is for.")] = "made by hand",
    days: Annotated[int | None, typer.Option(min=1, help="Until it expires.", show_default="never")] = None,
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
) -> None:
    """Make a key and print it: this once."""
    with connect(url, state_dir, key_file) as client:
        typer.echo(client.create_key(owner, scope, name, days)["key"])


@keys.command(name="list")
def list_(url: Url = None, state_dir: ServerState = None, key_file: KeyFile = None) -> None:
    """List the keys: an administrator sees all, others their own."""
    with connect(url, state_dir, key_file) as client:
        console().print(keys_table(client.api_keys()), crop=False)


@keys.command()
def revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="The eight characters after snas_.")],
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
) -> None:
    """End a key, and the logins made with it, at once and for good."""
    with connect(url, state_dir, key_file) as client:
        key = client.revoke_key(prefix)
    typer.echo(f"{key['prefix']} of {key['owner']} is revoked")


def audit(
    owner: Annotated[str | None, typer.Option(metavar="OWNER", help="Only what they did.")] = None,
    action: Annotated[str | None, typer.Option(metavar="ACTION", help="Only this, as key.revoked.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, newest first.")] = 50,
    url: Url = None,
    state_dir: ServerState = None,
    key_file: KeyFile = None,
) -> None:
    """Show who did what: logins, keys, jobs, data sets."""
    with connect(url, state_dir, key_file) as client:
        entries, more = client.audit(limit, None, owner, action)
    out = console()
    out.print(audit_table(entries), crop=False)
    if more is not None:
        out.print("older entries are not shown: raise --limit, or narrow with --owner and --action")
