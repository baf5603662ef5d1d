"""One training step (forward, backward, SGD-momentum) of perceptrons, in each of the ways there are.

`compressed` goes through the public layers and autograd, `fused` is the product's own loop. Every way starts from the
same weights, and its loss after a few steps is compared with the masked network's before anything is timed.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.interleaved import medians
from benchmarks.jobs import keep
from benchmarks.masked_torch import perceptron
from models import optimizers
from models.connections import Connections, random_connections
from models.data.samples import Samples
from models.fused import FusedSteps
from models.layers import sparse_layers
from models.networks import MLP
from models.seeds import generator

RECIPE = optimizers.SGD(lr=0.001)
BUNDLE = 10  # steps that one call of the fused loop takes; an epoch has more


@dataclass(frozen=True)
class Case:
    sizes: tuple[int, ...]
    density: float
    batch: int
    batch_norm: bool = False
    dropout: float = 0.0

    @property
    def name(self) -> str:
        extra = (" batch norm" if self.batch_norm else "") + (f" dropout {self.dropout}" if self.dropout else "")
        return f"{'-'.join(map(str, self.sizes))} at {self.density}, batch {self.batch}{extra}"


CASES = (
    *(Case((784, 1000, 1000, 10), density, 128) for density in (0.2, 0.1, 0.05, 0.01)),
    Case((784, 1000, 1000, 10), 0.1, 128, batch_norm=True, dropout=0.2),
    *(Case((784, 300, 100, 10), density, 128) for density in (0.1, 0.05)),
    Case((3072, 1024, 1024, 10), 0.1, 128),
    Case((64, 128, 64, 10), 0.2, 64),
)
Way = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """What every way starts from.

    active, values  connections and weights [out, in] of each layer
    x, y            one batch
    """

    active: list[Connections]
    values: list[Tensor]
    x: Tensor
    y: Tensor


def problem(case: Case) -> Problem:
    draw = torch.Generator().manual_seed(0)
    shapes = _family(case).layers(case.sizes[:1], case.sizes[-1])
    active = [random_connections(shape.weight, max(1, round(case.density * shape.total)), draw) for shape in shapes]
    values = [layer.to_dense() for layer in sparse_layers(_ours(case, active)).values()]
    x = torch.randn(case.batch, case.sizes[0], generator=draw)
    y = torch.randint(case.sizes[-1], (case.batch,), generator=draw)
    return Problem(active, values, x, y)


def ways(case: Case, given: Problem) -> dict[str, Way]:
    found: dict[str, Way] = {}
    for kind in ("dense", "masked torch", "torch prune"):
        plain = perceptron(kind, given.active, given.values, case.batch_norm, case.dropout)
        optimizer = torch.optim.SGD(plain.parameters(), lr=RECIPE.lr, momentum=0.9)
        found[kind] = step(plain, optimizer, given.x, given.y)
    layers = _ours(case, given.active)
    found["compressed"] = step(layers, optimizers.build(RECIPE, layers), given.x, given.y)
    network = _ours(case, given.active)
    samples = Samples(given.x, given.y)
    fused = FusedSteps.of(network, optimizers.build(RECIPE, network), "cross_entropy", samples, case.batch)
    assert fused is not None
    batch = torch.arange(case.batch)
    found["fused"] = lambda: fused([batch] * BUNDLE, [RECIPE.lr] * BUNDLE)[-1]
    return found


def _family(case: Case) -> MLP:
    return MLP(widths=case.sizes[1:-1], batch_norm=case.batch_norm, dropout=case.dropout)


def _ours(case: Case, active: list[Connections]) -> nn.Module:
    return _family(case).build(case.sizes[:1], case.sizes[-1], active, generator(1), "compressed")


def step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Way:
    def one() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return one


def check(found: dict[str, Way]) -> None:
    """Equal losses after the same number of steps."""
    losses = {name: float([way() for _ in range(1 if name == "fused" else BUNDLE)][-1]) for name, way in found.items()}
    for name, loss in losses.items():
        if name != "dense" and abs(loss - losses["masked torch"]) > 1e-3 * abs(losses["masked torch"]):
            raise AssertionError(f"{name} learns something else: {losses}")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for case in CASES:
        found = ways(case, problem(case))
        if not case.dropout:
            check(found)
        seconds = medians(found, options.seconds)
        seconds["fused"] /= BUNDLE
        ratios = {name: seconds["masked torch"] / taken for name, taken in seconds.items()}
        rows.append({"case": case.name, "milliseconds": {n: 1e3 * s for n, s in seconds.items()}, "faster": ratios})
        if not options.json:
            shown = "  ".join(f"{name} {1e3 * seconds[name]:.2f} ms ({ratio:.1f}x)" for name, ratio in ratios.items())
            print(f"{case.name}: {shown}", flush=True)
    if options.json:
        print(json.dumps(rows))
    keep("steps", rows)


if __name__ == "__main__":
    main()
