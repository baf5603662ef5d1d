"""`snas run` from a job's file to its verdict, as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from processes import PATIENCE, descendants, is_alive, until

from app import database, jobs, local, state
from app.client import Client
from app.settings import Settings

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "data": {"kind": "bundled", "name": "digits", "limit": 300},
    "network": {"kind": "mlp", "widths": [16]},
    "training": {"epochs": 5, "batch_size": 32},
    "search": {
        "space": {"kind": "free", "low": 0.05, "high": 0.5},
        "objectives": ["loss", "weights"],
        "trials": 6,
        "stopping": {"kind": "halving"},
    },
    "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 5, "arms": ["dense", "same_capacity"]},
}
ENDLESS: dict[str, Any] = TINY | {"training": {"epochs": 1_000_000}, "confirm": None}


def command(spec: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", "run", str(spec), "--workers", "1", *options]


def spec_file(directory: Path, spec: dict[str, Any]) -> Path:
    file = directory / "job.json"
    file.write_text(json.dumps(spec))
    return file


def start(tmp_path: Path) -> subprocess.Popen[str]:
    """An endless job, in training."""
    process = subprocess.Popen(
        command(spec_file(tmp_path, ENDLESS), "--state", str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    found = until(lambda: state.Address.read(tmp_path))
    with Client(found.url) as client:
        [job] = until(lambda: list(client.jobs()))
        until(lambda: any(event.type == "run.epoch" for event in client.events(job["id"])))
    return process


def jobs_in(state_dir: Path) -> list[jobs.Job]:
    db = database.engine(Settings(state_dir=state_dir))
    try:
        return jobs.page(db)[0]
    finally:
        db.dispose()


def without_clock(trial: dict[str, Any]) -> dict[str, Any]:
    curves = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in trial["curves"]]
    return {name: value for name, value in trial.items() if name != "seconds"} | {"curves": curves}


def test_a_job_runs_to_its_verdict_and_the_same_job_again_gives_the_same_trials(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, TINY)
    first = subprocess.run(
        command(spec, "--state", str(tmp_path / "first"), "--json"), capture_output=True, text=True, timeout=PATIENCE
    )
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)  # nothing but the report
    assert "Traceback" not in first.stderr
    assert "search 0/6" in first.stderr
    assert report["job"]["state"] == "completed"
    assert [trial["number"] for trial in report["trials"]] == list(range(6))
    assert set(report["confirmation"]["arms"]) >= {"snas", "dense", "same_capacity"}
    for trial in report["trials"]:
        assert trial["nnz"] == trial["nnz_asked"]
    kept = tmp_path / "first" / "reports" / f"{report['job']['id']}.json"
    assert json.loads(kept.read_text()) == report

    second = subprocess.run(
        command(spec, "--state", str(tmp_path / "second")), capture_output=True, text=True, timeout=PATIENCE
    )
    assert second.returncode == 0, second.stderr
    [file] = (tmp_path / "second" / "reports").iterdir()
    again = json.loads(file.read_text())
    assert list(map(without_clock, again["trials"])) == list(map(without_clock, report["trials"]))
    assert again["confirmation"]["p"] == report["confirmation"]["p"]
    for words in (
        "Pareto front",
        "Shortlist",
        "Confirmation",
        "Verdict: ",
        str(file),
        "snas serve --state",
        "/ui/jobs/",
    ):
        assert words in second.stdout


def test_an_interrupted_run_cancels_its_job_and_leaves_no_process(tmp_path: Path) -> None:
    process = start(tmp_path)
    family = descendants(process.pid)
    assert len(family) >= 3  # server, worker, trainer
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert "cancelling" in err
    assert "Traceback" not in err
    assert not any(map(is_alive, family))
    assert [job.state for job in jobs_in(tmp_path)] == ["cancelled"]


def test_a_cancelled_job_stops_in_the_middle_of_a_training(tmp_path: Path) -> None:
    with local.server(tmp_path, None, workers=1) as server, Client(server.url) as client:
        job = client.submit(ENDLESS)
        events = client.events(job["id"])
        until(lambda: next(events).type == "run.epoch")
        client.cancel(job["id"])
        cancelled = time.monotonic()
        *_, last = events  # the stream ends with the job
        assert last.type == "job.cancelled"
        assert client.get(job["id"])["state"] == "cancelled"
        # Far below the training's hours; how fast it is on a machine of its own is not for a test to say.
        assert time.monotonic() - cancelled < PATIENCE
        assert all(trial["state"] != "complete" for trial in client.trials(job["id"]))


def test_a_server_that_dies_under_a_run_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = start(tmp_path)
    found = state.Address.read(tmp_path)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert out == ""
    assert "error: the server ended by signal 9" in err
    shown = [line.strip() for line in err.partition("; the last lines of ")[2].splitlines()[1:]]
    assert shown
    assert all(line in (tmp_path / "logs" / "server.log").read_text() for line in shown)
    assert "Traceback" not in err
