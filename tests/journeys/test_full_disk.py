"""A disk that is full, or read-only, under a running server: said clearly, and once it is mended all goes on."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ledger
import pytest
from processes import PATIENCE, until

from app import state
from app.client import Client, Refused
from app.settings import Settings

JOB: dict[str, Any] = {
    "name": "full",
    "data": {"kind": "bundled", "name": "digits", "limit": 300},
    "network": {"kind": "mlp", "widths": [16]},
    "training": {"epochs": 400, "batch_size": 32},
    "search": {"trials": 2, "space": {"kind": "free", "low": 0.05, "high": 0.5}},
    "confirm": None,
}
CANNOT = ("no checkpoint could be written", "the database cannot be written")


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a small disk of its own."""
    place = tmp_path / "state"
    place.mkdir()
    mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def server(disk: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """With one worker, its log elsewhere."""
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--workers", "1", "--state", str(disk)]
    environment = dict(os.environ, SNAS_CHECKPOINT_SECONDS="0.1")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    yield process
    process.terminate()
    process.wait(PATIENCE)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        _write_until_it_fails(ballast)
    return ballast


def _write_until_it_fails(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))


def assert_intact(disk: Path) -> None:
    for name in ("app.db", "optuna.db"):
        connection = sqlite3.connect(disk / name)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


@pytest.mark.slow
def test_a_full_disk_is_said_and_when_there_is_space_again_all_goes_on(
    disk: Path, tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    def said(words: str, by: str) -> bool:
        return any(words in line and f" {by} " in line for line in (tmp_path / "log").read_text().splitlines())

    with Client(until(lambda: state.Address.read(disk)).url) as client:
        job = client.submit(JOB)["id"]
        until(lambda: client.get(job)["progress"]["trials"]["running"])
        ballast = fill(disk)
        until(lambda: said(f"no space is left for the database (state directory {disk})", "worker"))
        with pytest.raises(Refused) as refused:
            client.submit(JOB)
        assert refused.value.status == 507
        assert "No space is left" in str(refused.value)
        assert client.get(job)["state"] == "running", "what is there can be read"
        ballast.unlink()
        until(lambda: client.get(job)["state"] not in ("queued", "running"))
        assert len(list(client.jobs())) == 1, "what was refused was not made"
    assert server.poll() is None
    counted = ledger.check(Settings(state_dir=disk), job)
    assert counted == {"complete": 2}, "no attempt was lost"
    assert_intact(disk)
    assert said("the database works again", "worker")


@pytest.mark.slow
def test_a_state_directory_that_turns_read_only_is_said_and_afterwards_all_goes_on(
    disk: Path, tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    """What is open stays writable, as a kernel has it; whatever is opened meanwhile is not."""
    with Client(until(lambda: state.Address.read(disk)).url) as client:
        job = client.submit(JOB)["id"]
        until(lambda: client.get(job)["progress"]["trials"]["running"])
        mount("--bind", str(disk), str(disk))
        try:
            mount("-o", "remount,bind,ro", str(disk))
            until(lambda: any(words in (tmp_path / "log").read_text() for words in CANNOT))
            answers = [_submitted(client) for _ in range(20)]
            late = subprocess.run(
                [sys.executable, "-m", "app.cli", "worker", "--state", str(disk)],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        assert set(answers) <= {201, 503}
        for _ in range(20):
            assert _submitted(client) == 201, "as soon as it can be written"
            answers.append(201)
        assert late.returncode == 1
        assert "cannot be written: read-only file system" in late.stderr
        until(lambda: all(each["state"] == "completed" for each in client.jobs()))
        assert len(list(client.jobs())) == 1 + answers.count(201), "what was accepted is there, what was refused is not"
    assert server.poll() is None
    ledger.check(Settings(state_dir=disk), job)
    assert_intact(disk)
    assert "Traceback" not in (tmp_path / "log").read_text()


def _submitted(client: Client) -> int:
    """The status of the answer."""
    try:
        client.submit(JOB | {"training": {"epochs": 2}})
    except Refused as refused:
        return refused.status
    return 201


def test_a_read_only_state_directory_is_said_where_it_is_met(tmp_path: Path) -> None:
    place = tmp_path / "state"
    place.mkdir()
    mount("--bind", str(place), str(place))
    try:
        mount("-o", "remount,bind,ro", str(place))
        for command in (["serve", "--port", "0", "--workers", "0"], ["worker"]):
            done = subprocess.run(
                [sys.executable, "-m", "app.cli", *command, "--state", str(place)],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            assert done.returncode == 1
            assert f"error: the state directory {place} cannot be written: read-only file system" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
