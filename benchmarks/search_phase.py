"""A whole search, from first claim to last tell, against a plain Optuna + masked PyTorch script of the same trials.

Fashion-MNIST, 784-300-100-10, densities from .01 to .2 (log-uniform), 5 epochs, SET, 12 trials: one worker against one
process, then two against two. The script is given the densities that the search asked for.
"""

import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from app import local
from app.client import Client
from benchmarks.jobs import keep, options_of

SPEC: dict[str, Any] = {
    "name": "search-phase",
    "data": {"kind": "files", "name": "fashion-mnist", "validation": 0.1667},
    "network": {"kind": "mlp", "widths": [300, 100]},
    "training": {"epochs": 5, "batch_size": 128, "optimizer": {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0001}},
    "search": {
        "space": {"kind": "free", "low": 0.01, "high": 0.2, "scale": "log"},
        "objectives": ["loss", "weights"],
        "trials": 12,
        "stopping": None,
    },
    "confirm": None,
}


def phase(spec: dict[str, Any], data_dir: Path, workers: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of the search with warm workers, and its trials."""
    with tempfile.TemporaryDirectory() as directory:
        with local.server(Path(directory), data_dir, workers) as server, Client(server.url) as client:
            warming = spec | {"name": "warming", "search": spec["search"] | {"trials": 2 * workers}}
            list(client.events(client.submit(warming | {"training": spec["training"] | {"epochs": 2}})["id"]))
            job = client.submit(spec)
            events = [event for event in client.events(job["id"]) if event.type in ("run.started", "run.finished")]
            times = [datetime.fromisoformat(event.data["at"]) for event in events]
            return (max(times) - min(times)).total_seconds(), client.report(job["id"])["trials"]


def plain(spec: dict[str, Any], data_dir: Path, rows: list[list[float]], processes: int) -> float:
    """Seconds of the script, its trials dealt out to so many processes."""
    with tempfile.TemporaryDirectory() as directory:
        started = []
        for number in range(processes):
            files = [Path(directory) / name for name in (f"spec{number}.json", f"rows{number}.json")]
            files[0].write_text(json.dumps(spec))
            files[1].write_text(json.dumps(rows[number::processes]))
            command = [sys.executable, "-m", "benchmarks.plain_search", str(files[0]), str(data_dir), str(files[1])]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return max(float(json.loads(process.communicate()[0])["seconds"]) for process in started)


def main() -> None:
    options = options_of(__doc__)
    found: dict[str, float] = {}
    trials: list[dict[str, Any]] = []
    for number in (1, 2):
        found[f"snas, {number}"], trials = phase(SPEC, options.data_dir, number)
        rows = [trial["densities"] for trial in trials]
        found[f"plain, {number}"] = plain(SPEC, options.data_dir, rows, number)
    for name, seconds in found.items():
        print(f"{name} at a time: {seconds:.1f} s")
    ratios = {
        "against plain": found["plain, 1"] / found["snas, 1"],
        "two workers": found["snas, 1"] / found["snas, 2"],
        "two processes of the plain script": found["plain, 1"] / found["plain, 2"],
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f}x")
    keep("search_phase", {"seconds": found, "ratios": ratios})


if __name__ == "__main__":
    main()
