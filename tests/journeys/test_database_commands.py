"""A state in use copied by the shipped command, destroyed, and restored by it."""

import shutil
import subprocess
import sys
from pathlib import Path

from app import local
from app.client import Client

JOB = {
    "name": "kept",
    "data": {"kind": "bundled", "name": "wine"},
    "network": {"kind": "mlp", "widths": [8]},
    "training": {"epochs": 2, "batch_size": 64},
    "search": {"trials": 2, "space": {"kind": "free", "low": 0.1, "high": 0.5}},
    "confirm": None,
}


def snas(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_job_and_its_report_survive_the_loss_of_their_state(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    with local.server(state, None, workers=1) as server, Client(server.url) as client:
        job_id = client.submit(JOB)["id"]
        for _ in client.events(job_id):
            pass
        waiting = client.submit(JOB | {"name": "submitted just before"})["id"]
        report = client.report(job_id)
        made = snas("db", "backup", copy, "--state", state)
        assert (made.returncode, made.stderr) == (0, "")
        assert made.stdout.startswith("2 jobs and ")

        again = snas("db", "backup", copy, "--state", state)
        assert (again.returncode, again.stderr) == (
            1,
            f"error: {copy} exists already: a backup makes its own directory\n",
        )
        refused = snas("db", "restore", copy, "--state", state)
        assert (refused.returncode, refused.stderr) == (1, f"error: a server runs on {state}: end it first\n")
    shutil.rmtree(state)

    restored = snas("db", "restore", copy, "--state", state)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "are back as they were at" in restored.stdout
    with local.server(state, None, workers=1) as server, Client(server.url) as client:
        assert client.report(job_id) == report
        for _ in client.events(waiting):
            pass
        assert client.get(waiting)["state"] == "completed"


def test_upgrade_makes_the_databases_and_says_their_revision(tmp_path: Path) -> None:
    done = snas("db", "upgrade", "--state", tmp_path / "state")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the jobs database is at revision 0")
    assert {"app.db", "optuna.db"} <= {file.name for file in (tmp_path / "state").iterdir()}
