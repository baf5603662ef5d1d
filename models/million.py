"""How large a network can be: perceptrons of up to a million neurons, trained and rewired on a few samples.

The networks of Liu et al. 2021 (Neural Computing and Applications 33:2589, "Sparse evolutionary deep learning with over
one million artificial neurons on commodity hardware"): 3312-N-N-N-5, Erdős–Rényi with ε, SET after every epoch. Inputs
are random numbers in the shape of their lung data: what is measured is time and memory, not learning.
"""

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from models import optimizers
from models.allocation import erdos_renyi_epsilon
from models.data.samples import Samples, Split
from models.layers import SparseLayer
from models.leaks import refuse_leaks
from models.memory import keep_memory
from models.networks import MLP
from models.recipe import Training
from models.rewiring import SET, Moment, Rewiring
from models.schedules import Constant
from models.seeds import generator
from models.topologies import Random
from models.training import start

FEATURES, CLASSES, SAMPLES = 3312, 5, 135


@dataclass(frozen=True)
class Built:
    """neurons, inputs and outputs included; weights: active connections; seconds to draw and build the network."""

    neurons: int
    weights: int
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """Seconds of the optimizer steps and of the rewiring; share of the connections replaced; peak memory, bytes."""

    training: float
    rewiring: float
    churn: float
    peak: int


def epochs(
    width: int, epsilon: float = 10, batch_size: int = 32, count: int = 3, seed: int = 0
) -> Iterator[Built | Epoch]:
    """Builds 3312-width-width-width-5, then trains so many epochs, each followed by a rewiring.

    From here on this process keeps the memory it has freed, and takes numbers below 1.2e-38 for 0.
    """
    # What each step allocates; what a rewiring takes does return.
    keep_memory(max(4 * batch_size * max(width, FEATURES) + 2**20, 2**25))
    # A saturated softmax leaves gradients that small, and processors take a hundred times as long for each.
    torch.set_flush_denormal(True)
    began = time.perf_counter()
    network = MLP(widths=(width, width, width))
    layers = network.layers((FEATURES,), CLASSES)
    counts = [round(p * layer.total) for p, layer in zip(erdos_renyi_epsilon(layers, epsilon), layers, strict=True)]
    recipe = Training(epochs=count, batch_size=batch_size, optimizer=optimizers.SGD(lr=0.01), schedule=Constant())
    run = start(network, counts, Random(), SET(), recipe, _samples(seed), seed)
    yield Built(FEATURES + 3 * width + CLASSES, sum(counts), time.perf_counter() - began)
    order, stream = generator(seed, "order"), generator(seed, "rewiring")
    rewiring, held = SET(), list(run.layers.values())
    steps = -(-SAMPLES // batch_size)
    for epoch in range(1, count + 1):
        began = time.perf_counter()
        batches = torch.split(torch.randperm(SAMPLES, generator=order), batch_size)
        run.steps()(batches, [recipe.optimizer.lr] * steps)
        trained = time.perf_counter()
        moment = Moment(epoch * steps, (count + 1) * steps, epoch, count + 1, ends_epoch=True)
        # One layer after the other: what is decided of all of them takes a third of the memory that steps need.
        grown = sum(_rewire(layer, rewiring, moment, stream, run.optimizer) for layer in held)
        refuse_leaks(run.layers, counts)
        yield Epoch(trained - began, time.perf_counter() - trained, grown / sum(counts), peak_memory())


def _rewire(
    layer: SparseLayer, rewiring: Rewiring, moment: Moment, stream: torch.Generator, optimizer: torch.optim.Optimizer
) -> int:
    """How many connections were grown."""
    _, (after,) = rewiring(None, [layer], moment, stream)
    optimizers.rewire([layer], [after], optimizer)
    return after.grown.numel() if after else 0


def peak_memory() -> int:
    """Bytes of this process, its libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _samples(seed: int) -> Split:
    draw = generator(seed, "samples")
    x, y = torch.randn(SAMPLES, FEATURES, generator=draw), torch.randint(CLASSES, (SAMPLES,), generator=draw)
    return Split(Samples(x, y), Samples(x[:CLASSES], y[:CLASSES]), CLASSES, (FEATURES,))
