"""A recurrent network of some density, ready to train, for the programs that compare such."""

from collections.abc import Callable, Sequence
from statistics import mean, stdev

import torch

from models.data.samples import Split
from models.networks import AnyNetwork
from models.networks.shapes import LayerShape
from models.recipe import Training
from models.rewiring import AnyRewiring
from models.topologies import Random
from models.training import Run, start

Allocation = Callable[[Sequence[LayerShape], float], tuple[float, ...]]


def begun(
    network: AnyNetwork,
    split: Split,
    density: float,
    allocation: Allocation,
    rewiring: AnyRewiring,
    recipe: Training,
    seed: int,
) -> Run:
    torch.set_num_threads(1)
    layers = network.layers(split.input_shape, split.classes)
    densities = allocation(layers, density)
    counts = [round(each * layer.total) for each, layer in zip(densities, layers, strict=True)]
    return start(network, counts, Random(), rewiring, recipe, split, seed)


def shown(values: Sequence[float]) -> str:
    """`mean ± sd`, or the one value."""
    return f"{mean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"
