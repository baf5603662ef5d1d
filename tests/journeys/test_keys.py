"""Keys from the command line, on a real server: made, used, listed, revoked, and the log of it all."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import database, keys, local
from app.callers import LOCAL
from app.cli import main
from app.client import Client, Refused
from app.settings import Settings

JOB: dict[str, Any] = {"name": "digits", "data": {"kind": "bundled", "name": "digits", "limit": 200}}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A server on a state directory with one key, its administrator's."""
    directory = tmp_path_factory.mktemp("keys")
    settings = Settings(state_dir=directory)
    database.upgrade(settings)
    db = database.engine(settings)
    text = keys.generate()
    keys.create_first(db, text)
    db.dispose()
    with local.server(directory, None, workers=0):
        yield directory, text


class Shell:
    """`snas COMMAND` in this process: its exit code, stdout and stderr."""

    def __init__(self, state_dir: Path, patch: pytest.MonkeyPatch, said: pytest.CaptureFixture[str]) -> None:
        self._state_dir, self._patch, self._said = state_dir, patch, said

    def __call__(self, *command: str, key: str | None = None) -> tuple[int, str, str]:
        self._patch.delenv("SNAS_API_KEY", raising=False)
        if key is not None:
            self._patch.setenv("SNAS_API_KEY", key)
        self._patch.setattr(sys, "argv", ["snas", *command, "--state", str(self._state_dir)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._said.readouterr()
        return int(ended.value.code or 0), out, err


@pytest.fixture
def snas(first: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(first[0], monkeypatch, capsys)


def test_init_prints_the_first_key_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snas = Shell(tmp_path / "new", monkeypatch, capsys)
    code, out, err = snas("init")
    assert code == 0
    assert keys.is_key(out.strip())
    assert "cannot be shown again" in err
    code, out, err = snas("init")
    assert (code, out) == (2, "")
    assert "there are keys already" in err
    code, out, _ = snas("init", "--recover")
    assert code == 0
    db = database.engine(Settings(state_dir=tmp_path / "new"))
    assert keys.find(db, out.strip()) is not None
    assert len(keys.listed(db, LOCAL)) == 2
    db.dispose()


def test_commands_need_the_key_and_take_it_from_the_environment_or_a_file(
    first: tuple[Path, str], snas: Shell, tmp_path: Path
) -> None:
    _, text = first
    code, _, err = snas("jobs")
    assert code == 1
    assert "needs a key" in err
    assert "SNAS_API_KEY, or give --key-file" in err
    assert snas("jobs", key=text)[0] == 0
    file = tmp_path / "key"
    file.write_text(text + "\n")
    assert snas("jobs", "--key-file", str(file))[0] == 0
    file.write_text("snas_00000000_" + "0" * 64)
    code, _, err = snas("jobs", "--key-file", str(file))
    assert code == 1
    assert "unknown, expired or revoked" in err


def test_a_key_is_made_listed_used_and_revoked(first: tuple[Path, str], snas: Shell) -> None:
    _, text = first
    code, out, _ = snas("keys", "create", "ada", "--name", "laptop", "--days", "7", key=text)
    assert code == 0
    hers = out.strip()
    assert keys.is_key(hers)
    _, out, _ = snas("keys", "list", key=text)
    assert "laptop" in out
    assert hers not in out
    _, out, _ = snas("keys", "list", key=hers)
    assert "laptop" in out
    assert "first" not in out
    assert snas("audit", key=hers)[0] == 1
    assert "is revoked" in snas("keys", "revoke", hers.split("_")[1], key=hers)[1]
    assert snas("jobs", key=hers)[0] == 1
    code, out, _ = snas("audit", "--action", "key.revoked", key=text)
    assert code == 0
    assert "name laptop" in out


def test_run_makes_a_key_for_itself_and_leaves_none(first: tuple[Path, str], snas: Shell, tmp_path: Path) -> None:
    state_dir, text = first
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps(JOB | {"search": {"space": {"kind": "budget", "weights": 10_000_000}}}))
    code, _, err = snas("run", str(spec))
    assert code == 2, "refused for what it asks, not for who asks"
    assert "search.space.weights" in err
    found = local.state.Address.read(state_dir)
    assert found is not None
    with Client(found.url, key=text) as client:
        assert f"snas run, process {os.getpid()}" not in [key["name"] for key in client.api_keys()]
        actions = [entry["action"] for entry in client.audit(limit=2)[0]]
        assert actions == ["key.removed", "key.created"]
        assert client.submit(JOB)["owner"] == "local"
    with Client(found.url) as stranger, pytest.raises(Refused) as refused:
        list(stranger.jobs())
    assert refused.value.status == 401


def test_neither_the_log_of_the_server_nor_its_databases_hold_a_key(first: tuple[Path, str]) -> None:
    state_dir, text = first
    secret = text.split("_")[2].encode()
    files = [file for file in state_dir.rglob("*") if file.is_file()]
    assert any(file.name == "server.log" for file in files)
    assert not [file for file in files if secret in file.read_bytes()]
