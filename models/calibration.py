"""Measures the crossover of this machine: which storage trains faster, at which sizes and densities."""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from models import optimizers
from models.autograd_steps import AutogradSteps
from models.connections import random_connections
from models.crossover import Crossover
from models.data.samples import Samples
from models.fused import FusedSteps
from models.layers import SparseConv2d, SparseLayer, SparseLinear
from models.networks import MLP
from models.seeds import generator
from models.types import StorageKind

DENSITIES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
LINEAR = ((64, 128), (128, 256), (100, 784), (512, 512), (1000, 1000))
CONV2D = ((6, 1, 5, 28), (16, 16, 3, 14), (32, 32, 3, 14), (64, 64, 3, 8))
"""(outputs, inputs, kernel, image)"""
PERCEPTRONS = ((64, 64, 64, 10), (784, 100, 100, 10), (784, 300, 100, 10), (784, 1000, 1000, 10))
BATCH = 128
TURNS = 5

Way = Callable[[], object]
Ways = Callable[[float], tuple[Way, Way]]
"""Of a density: masked and compressed."""


def calibrate(tell: Callable[[str], None]) -> Crossover:
    """About a minute on one core. tell: is given a line for each size measured."""
    found: dict[str, list[tuple[int, float]]] = {"linear": [], "conv2d": [], "perceptron": []}
    for kind, name, size, ways in _cases():
        density = _crossing(ways)
        found[kind].append((size, density))
        tell(f"{kind} {name} ({size:,} weights): compressed is faster up to density {density:.2f}")
    return Crossover(**{kind: tuple(sorted(points)) for kind, points in found.items()})


def _cases() -> Iterator[tuple[str, str, int, Ways]]:
    for out, into in LINEAR:
        yield "linear", f"{into}-{out}", out * into, partial(_linear_passes, out, into)
    for out, into, kernel, image in CONV2D:
        ways = partial(_conv_passes, out, into, kernel, image)
        yield "conv2d", f"{kernel}x{kernel} {into}-{out}", out * into * kernel**2, ways
    for sizes in PERCEPTRONS:
        total = sum(a * b for a, b in pairwise(sizes))
        yield "perceptron", "-".join(map(str, sizes)), total, partial(_steps, sizes)


def _crossing(ways: Ways) -> float:
    """The density at which both take the same time; 0 or 1 where one of them is always faster."""
    below, ahead = 0.0, 1.0  # by how much compressed is faster, as a share of masked
    for density in DENSITIES:
        masked, compressed = _times(*ways(density))
        gain = 1 - compressed / masked
        if gain < 0:
            return below + (density - below) * ahead / (ahead - gain) if below else 0.0
        below, ahead = density, gain
    return 1.0


def _times(*ways: Way) -> list[float]:
    """Median seconds of each, taken in turns."""
    calls = []
    for way in ways:
        way()
        began = time.perf_counter()
        way()
        calls.append(max(1, round(0.01 / (time.perf_counter() - began))))
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(TURNS):
        for way, number, taken in zip(ways, calls, times, strict=True):
            began = time.perf_counter()
            for _ in range(number):
                way()
            taken.append((time.perf_counter() - began) / number)
    return [statistics.median(taken) for taken in times]


def _linear_passes(out: int, into: int, density: float) -> tuple[Way, Way]:
    def layer(storage: StorageKind) -> SparseLayer:
        return SparseLinear(into, out, density, storage=storage, generator=generator(0))

    return _passes(layer("masked"), (into,)), _passes(layer("compressed"), (into,))


def _conv_passes(out: int, into: int, kernel: int, image: int, density: float) -> tuple[Way, Way]:
    def layer(storage: StorageKind) -> SparseLayer:
        return SparseConv2d(
            into, out, kernel, padding=kernel // 2, density=density, storage=storage, generator=generator(0)
        )

    shape = (into, image, image)
    return _passes(layer("masked"), shape), _passes(layer("compressed"), shape)


def _passes(layer: SparseLayer, shape: tuple[int, ...]) -> Way:
    """Forward and backward, as the layer lies within a network: inputs and gradients batch innermost if it is."""
    x = torch.randn(BATCH, *shape, generator=generator(1)).requires_grad_()
    if layer.storage == "compressed":
        x = x.detach().movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_()
    gradient = torch.ones_like(layer(x).detach())

    def one() -> None:
        layer(x).backward(gradient)
        x.grad = layer.parameter.grad = None

    return one


def _steps(sizes: tuple[int, ...], density: float) -> tuple[Way, Way]:
    family = MLP(widths=sizes[1:-1])
    shapes = family.layers(sizes[:1], sizes[-1])
    active = [random_connections(shape.weight, max(1, round(density * shape.total)), generator(0)) for shape in shapes]
    x, y = torch.randn(BATCH, sizes[0], generator=generator(1)), torch.arange(BATCH) % sizes[-1]
    samples, recipe = Samples(x, y), optimizers.SGD(lr=1e-6)
    made = [family.build(sizes[:1], sizes[-1], active, generator(2), kind) for kind in ("masked", "compressed")]
    masked = AutogradSteps(made[0], optimizers.build(recipe, made[0]), functional.cross_entropy, samples, _as_it_is)
    fused = FusedSteps.of(made[1], optimizers.build(recipe, made[1]), "cross_entropy", samples, BATCH)
    assert fused is not None
    batches, rates = [torch.arange(BATCH)] * 10, [recipe.lr] * 10
    return (lambda: masked(batches, rates)), (lambda: fused(batches, rates))


def _as_it_is(x: Tensor) -> Tensor:
    return x
