"""The same training steps as `steps`, beside the published CPU kernels: SparseProp (ICML 2023) and SparseLab (2026).

Both are installed by their own make target only. They get the same connections, weights, batch and optimizer, and
their loss after a few steps is compared with masked PyTorch's before anything is timed.
"""

import json
from argparse import ArgumentParser
from typing import cast

import numpy as np
import torch
from sparselab import SparseLinear as LabLinear
from sparselab import layout
from sparseprop import set_num_threads
from sparseprop.modules import SparseLinear as PropLinear
from torch import Tensor, nn

from benchmarks.interleaved import medians
from benchmarks.jobs import keep
from benchmarks.masked_torch import perceptron
from benchmarks.steps import BUNDLE, CASES, RECIPE, Case, Problem, Way, check, problem, step, ways

PEERS = ("sparseprop", "sparselab")


def peer(kind: str, case: Case, given: Problem) -> Way:
    network = perceptron("dense", given.active, given.values, case.batch_norm, case.dropout)
    for number, part in enumerate(network):
        if isinstance(part, nn.Linear):
            network[number] = PropLinear.from_dense(part) if kind == "sparseprop" else lab_linear(part)
    return step(network, torch.optim.SGD(network.parameters(), lr=RECIPE.lr, momentum=0.9), given.x, given.y)


def lab_linear(dense: nn.Linear) -> nn.Module:
    """SparseLab draws its own connections; these are put in their place, the way its constructor does."""
    layer = LabLinear(dense.in_features, dense.out_features)
    weight: Tensor = dense.weight.detach()
    layer._csr = layout.from_dense(weight, padding_ratio=0.0)
    layer._values = nn.Parameter(torch.from_numpy(np.asarray(layer._csr.values)))
    with torch.no_grad():
        layer.bias.zero_()
    return cast(nn.Module, layer)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    set_num_threads(1)
    rows = []
    for case in CASES:
        given = problem(case)
        found = ways(case, given)
        found |= {kind: peer(kind, case, given) for kind in PEERS}
        if not case.dropout:
            check(found)
        seconds = medians(found, options.seconds)
        seconds["fused"] /= BUNDLE
        best = min(seconds[kind] for kind in PEERS)
        row = {
            "case": case.name,
            "milliseconds": {name: 1e3 * taken for name, taken in seconds.items()},
            "faster than the faster peer": {name: best / seconds[name] for name in ("compressed", "fused")},
        }
        rows.append(row)
        if not options.json:
            shown = "  ".join(f"{name} {1e3 * taken:.2f} ms" for name, taken in seconds.items())
            ratios = ", ".join(f"{name} {best / seconds[name]:.1f}x" for name in ("compressed", "fused"))
            print(f"{case.name}: {shown}; the faster peer against {ratios}", flush=True)
    if options.json:
        print(json.dumps(rows))
    keep("peers", rows)


if __name__ == "__main__":
    main()
