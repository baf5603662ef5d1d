"""MNIST-1D as a sequence of 40 points: a GRU of 64 units, dense and at 20 % of its weights, at two learning rates.

Fewer connections want the higher rate, so each arm is shown at both. ERK fills the input matrix, which has one column:
at a uniform 20 % four of five gates would never see the data.

Each training is a row of docs/results/recurrent_waveforms.json and not done again; remove the file to measure anew.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.jobs import keep
from benchmarks.recurrent_runs import Allocation, begun, shown
from benchmarks.resumed import Row, arguments, rows_of
from models.allocation import erdos_renyi_kernel, uniform
from models.data import MNIST1D
from models.data.samples import final_split
from models.networks import GRU
from models.optimizers import Adam
from models.recipe import Training
from models.rewiring import SET, AnyRewiring, Static
from models.rewiring.drop import CosineDrop

NAME = "recurrent_waveforms"
ARMS: dict[str, tuple[float, Allocation, AnyRewiring]] = {
    "dense": (1.0, uniform, Static()),
    "ERK, static": (0.2, erdos_renyi_kernel, Static()),
    "ERK, SET": (0.2, erdos_renyi_kernel, SET(fraction=0.5, removal="magnitude", drop=CosineDrop())),
}
RATES = (0.01, 0.02)


@dataclass(frozen=True)
class Case:
    arm: str
    rate: float
    seed: int


def measure(data_dir: Path, case: Case) -> Row:
    del data_dir
    density, allocation, rewiring = ARMS[case.arm]
    recipe = Training(epochs=40, batch_size=100, optimizer=Adam(lr=case.rate), clip=1.0)
    split = final_split(MNIST1D().load(None, 0))
    run = begun(GRU(units=(64,)), split, density, allocation, rewiring, recipe, case.seed)
    *_, report = run.train()
    assert report.accuracy is not None, "every epoch is evaluated"
    return {"accuracy": 100 * report.accuracy, "train_loss": report.train_loss, "nnz": report.nnz}


def main() -> None:
    cases = [Case(arm, rate, seed) for seed in range(3) for arm in ARMS for rate in RATES]
    rows = rows_of(NAME, cases, measure, arguments(__doc__))
    for arm in ARMS:
        for rate in RATES:
            mine = [row for row in rows if (row["arm"], row["rate"]) == (arm, rate)]
            weights, accuracy = sum(mine[0]["nnz"]), shown([row["accuracy"] for row in mine])
            print(f"{arm}, {weights:,} weights, rate {rate}: {accuracy} %")
    keep(NAME, {"rows": rows})


if __name__ == "__main__":
    main()
