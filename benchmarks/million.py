"""How large a network can be: an epoch of SET at up to a million neurons, through `snas bench million`.

Each width runs in a process of its own, so that the peak memory is its own. With --peer, a checkout of the authors'
program (dcmocanu/sparse-evolutionary-artificial-neural-networks, the folder SET-MLP-Sparse-Python-Data-Structures, its
Cython file built in place) trains the same network right after ours, in the same setting.
"""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.jobs import keep
from models.million import CLASSES, FEATURES, SAMPLES

WIDTHS = (3_000, 30_000, 300_000)
EPSILON, BATCH_SIZE = 10, 32

# Liu et al. 2021: minutes of training and rewiring an epoch, by neurons.
AUTHORS = {12_317: 0.3, 93_317: 3.0, 903_317: 49.0}
AUTHORS_SETTING = "the authors' published times are another setting, epsilon 20 and batch 2, on a laptop of 2018"

Row = dict[str, Any]


def ours(width: int, epochs: int) -> Row:
    """Medians of all epochs but the first, which meets cold caches and memory; the peak of the whole process."""
    command = [sys.executable, "-m", "app.cli", "bench", "million", "--width", str(width), "--epochs", str(epochs)]
    built, *measured = _printed([*command, "--json"])
    usual = measured[1:] or measured
    return {
        "neurons": built["neurons"],
        "weights": built["weights"],
        "training": median(epoch["training"] for epoch in usual),
        "rewiring": median(epoch["rewiring"] for epoch in usual),
        "peak": max(epoch["peak"] for epoch in measured),
    }


def peer(width: int, directory: Path, epochs: int) -> Row:
    """The same of the authors' program."""
    command = [sys.executable, "-m", "benchmarks.million", "--peer-of", str(width), "--peer", str(directory)]
    return _printed([*command, "--epochs", str(epochs)])[-1]


def train_peer(width: int, directory: Path, epochs: int) -> Row:
    """Runs in a process of its own; the program prints its times, we take our own around its methods."""
    sys.path.insert(0, str(directory))
    import numpy as np
    import set_mlp_sparse_data_structures as program

    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((SAMPLES, FEATURES)), np.eye(CLASSES)[draw.integers(CLASSES, size=SAMPLES)]
    np.random.seed(0)
    activations = (program.Relu, program.Relu, program.Relu, program.Sigmoid)
    network = program.SET_MLP((FEATURES, width, width, width, CLASSES), activations, epsilon=EPSILON)
    network.loss = program.MSE(program.Sigmoid)
    network.learning_rate, network.momentum, network.weight_decay, network.zeta = 0.01, 0.9, 0.0, 0.3
    training, rewiring = [], []
    for _ in range(epochs):
        began = time.perf_counter()
        for batch in np.split(draw.permutation(SAMPLES), range(BATCH_SIZE, SAMPLES, BATCH_SIZE)):
            z, a = network._feed_forward(x[batch])
            network._back_prop(z, a, y[batch])
        trained = time.perf_counter()
        network.weightsEvolution_Amar()
        training.append(trained - began)
        rewiring.append(time.perf_counter() - trained)
    return {
        "weights": sum(weights.nnz for weights in network.w.values()),
        "training": median(training[1:] or training),
        "rewiring": median(rewiring[1:] or rewiring),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _printed(command: list[str]) -> list[Row]:
    """One JSON object a line."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return [json.loads(each) for each in finished.stdout.splitlines()]


def line(row: Row) -> str:
    own = row["ours"]
    text = f"{own['neurons']:>9,} neurons {own['weights']:>11,} weights:  {_times(own)}"
    text += f"  authors {AUTHORS[own['neurons']]:g} min"
    if "peer" in row:
        text += f"  peer here {_times(row['peer'])}  {row['faster']:.0f}x"
    return text


def _times(row: Row) -> str:
    return f"{row['training']:.3f} s + {row['rewiring']:.3f} s, peak {row['peak'] / 2**20:,.0f} MiB"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5, help="of ours at each width")
    parser.add_argument("--peer", type=Path, help="a checkout of the authors' program, built; not at the largest width")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peer-of", type=int, help="train the authors' program alone, at this width")
    options = parser.parse_args()
    if options.peer_of:
        with contextlib.redirect_stdout(io.StringIO()):
            row = train_peer(options.peer_of, options.peer, options.epochs)
        print(json.dumps(row))
        return
    rows = []
    for width in WIDTHS:
        row = {"ours": ours(width, options.epochs)}
        if options.peer and width < max(WIDTHS):
            row["peer"] = peer(width, options.peer, 2)
            seconds = [each["training"] + each["rewiring"] for each in (row["peer"], row["ours"])]
            row["faster"] = seconds[0] / seconds[1]
        rows.append(row)
        if not options.json:
            print(line(row), flush=True)
    if options.json:
        print(json.dumps(rows))
    else:
        print(f"seconds of training + rewiring an epoch; {AUTHORS_SETTING}")
    keep("million", {"authors_minutes": AUTHORS, "authors_setting": AUTHORS_SETTING, "rows": rows})


if __name__ == "__main__":
    main()
