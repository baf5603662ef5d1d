"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from app import state
from app.client import DEFAULT_URL, Client

STATE_DIR = Path(".snas")

StateDir = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="SNAS_STATE_DIR",
        file_okay=False,
        help="Directory of the databases, logs and caches; made if absent.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="SNAS_DATA_DIR",
        exists=True,
        file_okay=False,
        help="Directory of the data sets that jobs name as files; only read.",
    ),
]
SpecFile = Annotated[Path, typer.Argument(metavar="SPEC.json", help="The job.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id, or as much of it as is unique.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help=f"The server. Without it: the one on --state, then $SNAS_URL, then the one that runs on this directory's"
        f" {STATE_DIR}, then {DEFAULT_URL}.",
    ),
]
ServerState = Annotated[
    Path | None,
    typer.Option("--state", file_okay=False, help="Talk to the server that runs on this state directory."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="SNAS_API_KEY_FILE",
        dir_okay=False,
        exists=True,
        help="File that holds the API key. Without it: $SNAS_API_KEY.",
    ),
]


def connect(url: str | None, state_dir: Path | None, key_file: Path | None) -> Client:
    """The server meant by these options, with its key. Raises: typer.BadParameter."""
    return Client(address(url, state_dir), key=None if key_file is None else _key_in(key_file))


def address(url: str | None, state_dir: Path | None) -> str:
    """Where the server meant by these options answers. Raises: typer.BadParameter."""
    if url is not None:
        return url
    if state_dir is not None:
        found = _running(state_dir)
        if found is None:
            raise typer.BadParameter(f"no server runs on {state_dir}", param_hint="--state")
        return found
    default = Path(os.environ.get("SNAS_STATE_DIR", STATE_DIR))
    return os.environ.get("SNAS_URL") or _running(default) or DEFAULT_URL


def _running(state_dir: Path) -> str | None:
    found = state.Address.read(state_dir)
    return found.url if found is not None and state.is_held(state_dir) else None


def _key_in(file: Path) -> str:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text or not text.isprintable():
        raise typer.BadParameter(f"{file} holds no key", param_hint="--key-file")
    return text
