"""Sixteen workers on one SQLite: what claiming, asking, writing and telling add to a trial of two seconds.

Through the shipped commands, with the trainer that only sleeps. From the start of a worker's run to the start of its
next there are the seconds slept and everything else: that is what is printed. On fewer cores than workers the
processes' own turns are in it too.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path

from app import database, jobs, queueing, runs
from app.runs import RunRow
from app.settings import Settings
from benchmarks.jobs import keep
from search.problem import examine
from search.spec import parse

WORKERS, TRIALS, SLEEP = 16, 320, 2.0
EPOCHS = 10
LIMIT = 1.0  # seconds, for 95 % of the trials
LOOK_EVERY = 1.0
JOB = {
    "name": "sixteen",
    "data": {"kind": "bundled", "name": "digits"},
    "network": {"kind": "mlp", "widths": [300, 100]},
    "training": {"epochs": EPOCHS},
    "confirm": None,
}


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--keep", help="a name in docs/results/")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(state_dir=Path(directory), trainer="sleep", sleep_seconds=SLEEP)
        rows, log = _work(settings, options.workers, options.trials)
    beyond = _beyond(rows)
    errors = [line for line in log.splitlines() if "locked" in line or "Traceback" in line or "ERROR" in line]
    lost = sum(run.attempt > 1 for run in rows)
    cuts = statistics.quantiles(beyond, n=20, method="inclusive")
    result = {
        "workers": options.workers,
        "trials": sum(run.state == "complete" for run in rows),
        "errors": len(errors),
        "repeated": lost,
        "p50": statistics.median(beyond),
        "p95": cuts[-1],
        "load": os.getloadavg()[0],
    }
    print(
        f"{result['workers']} workers, {result['trials']} of {options.trials} trials of {SLEEP:.0f} s complete,"
        f" {lost} repeated, {len(errors)} errors; beyond the sleep p50 {result['p50']:.2f} s, p95 {result['p95']:.2f} s"
        f" (limit {LIMIT:.0f}); load of this machine {result['load']:.1f}"
    )
    print("\n".join(errors[:5]))
    if options.keep:
        keep(options.keep, result)
    return 1 if errors or lost or result["trials"] != options.trials or result["p95"] > LIMIT else 0


def _work(settings: Settings, workers: int, trials: int) -> tuple[list[RunRow], str]:
    """Every run of a job that so many workers did together, and what they logged."""
    database.upgrade(settings)
    db = database.engine(settings)
    command = [sys.executable, "-m", "app.cli", "worker", "--state", str(settings.state_dir)]
    environment = os.environ | {"SNAS_TRAINER": "sleep", "SNAS_SLEEP_SECONDS": str(SLEEP)}
    path = settings.state_dir / "workers.log"
    with path.open("wb") as log:
        started = [subprocess.Popen(command, env=environment, stderr=log) for _ in range(workers)]
        while path.read_text().count("is ready") < workers:  # starting them is not what is measured
            assert all(each.poll() is None for each in started), path.read_text()
            time.sleep(LOOK_EVERY)
        spec = parse(JOB | {"search": {"trials": trials}})
        job, _ = queueing.submit(db, spec, examine(spec, None))
        while not jobs.has_ended(db, job.id):
            time.sleep(LOOK_EVERY)
        for each in started:
            each.send_signal(signal.SIGTERM)
        for each in started:
            each.wait()
    rows = runs.of_job(db, job.id)
    db.dispose()
    return rows, path.read_text()


def _beyond(rows: list[RunRow]) -> list[float]:
    """Of each trial that another of the same worker followed: seconds from start to start, the sleep left out."""
    starts: dict[str, list[float]] = {}
    for run in rows:
        if run.worker_id is not None and run.started is not None:
            starts.setdefault(run.worker_id, []).append(run.started)
    return [later - earlier - SLEEP for each in starts.values() for earlier, later in pairwise(sorted(each))]


if __name__ == "__main__":
    sys.exit(main())
