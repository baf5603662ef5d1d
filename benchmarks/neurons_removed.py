"""SET with and without the removal of half of the hidden neurons, on six data sets that are mostly tables.

Hidden layers of 200 and 200, a tenth of the weights, 100 epochs, batch 16, SGD lr .01 momentum .9, rewired after each
epoch (ζ = .3). Neurons go from a tenth of the training on, a fifth of the living ones every five epochs, until half of
each hidden layer is gone; the connections stay as many. They are shared out by Erdős–Rényi, but no layer has more than
half of its places: in a small output layer that was full, no neuron could go. Sets without a test part have a fifth
held out, another one for each seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import torch

from benchmarks.jobs import keep
from benchmarks.resumed import Row, arguments, rows_of, shown
from models.allocation import erdos_renyi_kernel, whole_counts
from models.compaction import compact
from models.data import Files
from models.data.samples import final_split
from models.layers import SparseLayer, sparse_layers
from models.networks import MLP
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import SET, AnyRewiring, NeuronSET
from models.schedules import Constant
from models.topologies import Random
from models.training import start

NAME = "neurons_removed"
SETS = ("letter", "madelon", "PCMAC", "COIL20", "TOX_171", "lung_discrete")
ARMS: dict[str, AnyRewiring] = {
    "SET": SET(fraction=0.3),
    "neuron_set": NeuronSET(fraction=0.3, begin=0.1, interval=5, at_once=0.2, most=0.5),
}
SEEDS = range(5)
DENSITY = 0.1
NETWORK = MLP(widths=(200, 200))
OPTIMIZER = SGD(lr=0.01, momentum=0.9, weight_decay=1e-4)
TRAINING = Training(epochs=100, batch_size=16, optimizer=OPTIMIZER, schedule=Constant())


@dataclass(frozen=True)
class Case:
    data: str
    arm: str
    seed: int


def measure(data_dir: Path, case: Case) -> Row:
    split = final_split(Files(kind="files", name=case.data).load(data_dir, seed=case.seed))
    layers = NETWORK.layers(split.input_shape, split.classes)
    totals = [layer.total for layer in layers]
    targets = [share * total for share, total in zip(erdos_renyi_kernel(layers, DENSITY), totals, strict=True)]
    counts = whole_counts(targets, [total // 2 for total in totals], round(DENSITY * sum(totals)))
    run = start(NETWORK, counts, Random(), ARMS[case.arm], TRAINING, split, case.seed, evaluate="end")
    last = list(run.train())[-1]
    smaller = compact(run.network.eval())
    with torch.inference_mode():
        apart = (run.network(split.held_out.x) - smaller(split.held_out.x)).abs().max().item()
    before, after = run.layers, sparse_layers(smaller)
    return {
        "accuracy": last.accuracy,
        "weights": sum(last.nnz),
        "removed": 1 - hidden(after) / hidden(before),
        "places": sum(layer.connections.total for layer in after.values()) / sum(totals),
        "apart": apart,
    }


def hidden(layers: dict[str, SparseLayer]) -> int:
    return sum(layer.connections.shape[0] for name, layer in layers.items() if name != "output")


def main() -> None:
    cases = [Case(data, arm, seed) for seed in SEEDS for data in SETS for arm in ARMS]
    rows = rows_of(NAME, cases, measure, arguments(__doc__))
    gains = {}
    for data in SETS:
        found = {arm: [row for row in rows if (row["data"], row["arm"]) == (data, arm)] for arm in ARMS}
        accuracies = {arm: [row["accuracy"] for row in each] for arm, each in found.items()}
        gains[data] = 100 * (mean(accuracies["neuron_set"]) - mean(accuracies["SET"]))
        shares = [average(found[arm], field) for field in ("removed", "places") for arm in ARMS]
        weights = found["SET"][0]["weights"]
        cells = [f"{weights:,}", *map(shown, accuracies.values()), f"{gains[data]:+.2f}", *shares]
        print(f"| {data} | {' | '.join(cells)} |")
    apart = max(row["apart"] for row in rows)
    print(f"mean over the sets: {mean(gains.values()):+.2f} points; logits at most {apart:.1e} apart")
    keep(NAME, {"rows": rows, "gains": gains, "mean_gain": mean(gains.values()), "apart": apart})


def average(rows: Sequence[Row], field: str) -> str:
    return f"{mean(row[field] for row in rows):.1%}"


if __name__ == "__main__":
    main()
