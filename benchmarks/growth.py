"""How the cost of a step grows with density and width, what an active weight takes in memory, and what rewiring costs.

Networks are N-N-N-10 perceptrons on 784 inputs, batch 128, SGD with momentum.
"""

import time
from unittest.mock import patch

import matplotlib
import torch

from benchmarks.interleaved import medians
from benchmarks.jobs import keep
from benchmarks.steps import BUNDLE, RECIPE, Case, check, problem, ways
from models import optimizers, training
from models.connections import random_connections
from models.data.samples import Samples, Split
from models.layers import sparse_layers
from models.layers.compressed import Compressed
from models.layers.masked import Masked
from models.networks import MLP
from models.recipe import Training
from models.rewiring import SET, Moment
from models.seeds import generator
from models.topologies import Random

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DENSITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
WIDTHS = (250, 500, 1000, 2000)
DENSITY, WIDTH = 0.05, 1000
SHOWN = {"dense": "#b0b0b0", "masked torch": "#d1495b", "compressed": "#4878a8", "fused": "#8cb369"}
NAMES = {"dense": "dense torch", "compressed": "our layers, autograd", "fused": "our training loop"}


def step(width: int, density: float) -> dict[str, float]:
    """Milliseconds of a step, each way."""
    case = Case((784, width, width, 10), density, 128)
    found = {name: way for name, way in ways(case, problem(case)).items() if name in SHOWN}
    check(found)
    seconds = medians(found, 3.0)
    seconds["fused"] /= BUNDLE
    return {name: 1e3 * taken for name, taken in seconds.items()}


def memory(density: float) -> dict[str, float]:
    """Bytes of each active weight in training, between rewirings: parameter, gradient, momentum, structure."""
    found: dict[str, float] = {}
    family = MLP(widths=(WIDTH, WIDTH))
    shapes = family.layers((784,), 10)
    counts = [max(1, round(density * shape.total)) for shape in shapes]
    for storage in ("masked", "compressed"):
        draw = generator(0)
        active = [random_connections(shape.weight, count, draw) for shape, count in zip(shapes, counts, strict=True)]
        network = family.build((784,), 10, active, generator(1), storage)
        optimizer = optimizers.build(RECIPE, network)
        network(torch.randn(128, 784)).square().mean().backward()
        optimizer.step()
        held = 0
        for layer in sparse_layers(network).values():
            parameter, stored = layer.parameter, layer.stored
            assert isinstance(stored, Masked | Compressed)
            tensors = [
                parameter,
                parameter.grad,
                optimizer.state[parameter]["momentum_buffer"],
                *stored.buffers(),
            ]
            held += sum(tensor.nbytes for tensor in tensors if tensor is not None)
            if isinstance(stored, Compressed):
                held += stored.structure.nbytes
        found[storage] = held / sum(counts)
    return found


def rewiring_share() -> dict[str, float]:
    """SET after every epoch of 60,000 samples, 784-1000-1000-10 at .10, as a share of the whole training."""
    x = torch.randn(60_000, 784, generator=generator(0))
    y = torch.randint(10, (60_000,), generator=generator(1))
    samples = Samples(x, y)
    split = Split(samples, samples.at(torch.arange(1000)), 10, (784,))
    family = MLP(widths=(1000, 1000))
    counts = [round(0.1 * shape.total) for shape in family.layers((784,), 10)]
    spent = 0.0
    rewire = training.Run._rewire

    def timed(run: training.Run, moment: Moment) -> int:
        nonlocal spent
        began = time.perf_counter()
        grown = rewire(run, moment)
        spent += time.perf_counter() - began
        return grown

    with patch.object(training.Run, "_rewire", timed):
        for rewiring, epochs in ((SET(), 2), (SET(), 4)):  # the first compiles
            spent = 0.0
            run = training.start(family, counts, Random(), rewiring, Training(epochs=epochs, batch_size=128), split, 0)
            began = time.perf_counter()
            list(run.train())
            seconds = time.perf_counter() - began
    return {"seconds": seconds, "rewiring": spent, "rewirings": epochs - 1, "share": spent / seconds}


def draw(
    densities: dict[float, dict[str, float]], widths: dict[int, dict[str, float]], held: dict[float, dict[str, float]]
) -> None:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6))
    for name, colour in SHOWN.items():
        left.plot(
            list(densities),
            [each[name] for each in densities.values()],
            "o-",
            c=colour,
            ms=4,
            label=NAMES.get(name, name),
        )
        middle.plot(list(widths), [each[name] for each in widths.values()], "o-", c=colour, ms=4)
    for storage, colour in (("masked", "#d1495b"), ("compressed", "#4878a8")):
        right.plot(list(held), [each[storage] for each in held.values()], "o-", c=colour, ms=4, label=storage)
    left.set(title=f"a step of 784-{WIDTH}-{WIDTH}-10", xlabel="density", ylabel="milliseconds")
    middle.set(title=f"a step of 784-N-N-10, density {DENSITY:.0%}", xlabel="N")
    right.set(title="memory per active weight in training", xlabel="density", ylabel="bytes")
    for axis in (left, middle, right):
        axis.set_xscale("log")
        axis.set_yscale("log")
        ticks = WIDTHS if axis is middle else DENSITIES
        axis.set_xticks(ticks, [f"{tick:,}" if axis is middle else f"{tick:.0%}" for tick in ticks])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        axis.title.set_fontsize(10)
        axis.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    right.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig("docs/images/growth.png", dpi=150)


def main() -> None:
    densities = {density: step(WIDTH, density) for density in DENSITIES}
    widths = {width: densities[DENSITY] if width == WIDTH else step(width, DENSITY) for width in WIDTHS}
    held = {density: memory(density) for density in DENSITIES}
    for title, table in (("density", densities), ("width", widths)):
        for key, times in table.items():
            print(f"{title} {key}: " + "  ".join(f"{name} {taken:.2f} ms" for name, taken in times.items()), flush=True)
    for density, each in held.items():
        print(f"density {density}: " + "  ".join(f"{name} {taken:.1f} bytes" for name, taken in each.items()))
    share = rewiring_share()
    print(f"SET on 60,000 samples: {share['share']:.1%} of the training", flush=True)
    keep("growth", {"densities": densities, "widths": widths, "bytes": held, "rewiring": share})
    draw(densities, widths, held)


if __name__ == "__main__":
    main()
