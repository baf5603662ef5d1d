"""A whole search in units of one dense training: 32 trials of 784-1000-1000-10 on Fashion-MNIST at 5 % and at 2 %.

Halving on, no confirmation, one worker, warm; the dense network is plain PyTorch, the same epochs, on the same core.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.jobs import keep, options_of
from benchmarks.search_phase import phase

EPOCHS = 5
SPEC: dict[str, Any] = {
    "name": "headline",
    "data": {"kind": "files", "name": "fashion-mnist", "validation": 0.1667},
    "network": {"kind": "mlp", "widths": [1000, 1000]},
    "training": {"epochs": EPOCHS, "batch_size": 128, "optimizer": {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0001}},
    "search": {"objectives": ["loss"], "trials": 32, "stopping": {"kind": "halving", "from": 0.4}},
    "confirm": None,
}


def at(density: float) -> dict[str, Any]:
    return SPEC | {"search": SPEC["search"] | {"space": {"kind": "budget", "density": density}}}


def dense(data_dir: Path) -> float:
    """Seconds of one training of the dense network."""
    with tempfile.TemporaryDirectory() as directory:
        spec, rows = Path(directory) / "spec.json", Path(directory) / "rows.json"
        spec.write_text(json.dumps(at(0.05) | {"rewiring": {"kind": "static"}}))
        rows.write_text(json.dumps([[1.0, 1.0, 1.0]]))
        command = [sys.executable, "-m", "benchmarks.plain_search", str(spec), str(data_dir), str(rows)]
        return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["seconds"])


def main() -> None:
    data_dir = options_of(__doc__).data_dir
    found: dict[str, Any] = {}
    for density in (0.05, 0.02):
        before = dense(data_dir)
        seconds, trials = phase(at(density), data_dir, workers=1)
        unit = (before + dense(data_dir)) / 2
        stopped = sum(trial["state"] == "pruned" for trial in trials)
        found[f"{density:.0%}"] = {"search": seconds, "dense": unit, "units": seconds / unit, "stopped": stopped}
        print(
            f"at {density:.0%}: {len(trials)} trials ({stopped} stopped early) in {seconds:.1f} s ="
            f" {seconds / unit:.2f} dense trainings of {unit:.1f} s",
            flush=True,
        )
    keep("headline", found)


if __name__ == "__main__":
    main()
