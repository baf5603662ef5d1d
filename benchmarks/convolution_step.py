"""One training step (forward, all gradients, SGD with momentum) of a 3x3 convolution, 64 to 64 channels, 16x16 images.

Through the public layers and autograd on both sides, the gradient of the input included, as within a network:
compressed against dense torch in each of oneDNN's two layouts. Results are compared before anything is timed.
"""

from argparse import ArgumentParser
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.interleaved import Way, medians
from benchmarks.jobs import keep
from models import optimizers
from models.layers import SparseConv2d
from models.layers.layout import batch_innermost
from models.seeds import generator

CHANNELS, SIDE, IMAGES = 64, 16, 64
DENSITIES = (0.2, 0.1, 0.05)
LAYOUTS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}
RECIPE = optimizers.SGD(lr=0.001)


def sparse(density: float) -> SparseConv2d:
    return SparseConv2d(CHANNELS, CHANNELS, 3, padding=1, density=density, storage="compressed", generator=generator(1))


def dense() -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)


def way(layer: nn.Module, x: Tensor, dy: Tensor) -> Way:
    return partial(_step, layer, optimizers.build(RECIPE, layer), x.detach().requires_grad_(), dy)


def _step(layer: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, dy: Tensor) -> None:
    optimizer.zero_grad()
    x.grad = None
    layer(x).backward(dy)
    optimizer.step()


def check(layer: SparseConv2d, x: Tensor, dy: Tensor) -> None:
    """Its outputs and gradients are those of a dense layer that has zeros."""
    other = dense()
    other.weight.data = layer.to_dense().detach()
    assert layer.bias is not None
    assert other.bias is not None
    other.bias.data = layer.bias.detach()
    active = layer.connections.positions
    y, *found = _computed(layer, x, dy, layer.parameter, layer.bias)
    expected, dx, dweight, dbias = _computed(other, x, dy, other.weight, other.bias)
    for one, another in zip((y, *found), (expected, dx, dweight.flatten()[active], dbias), strict=True):
        torch.testing.assert_close(one, another, atol=1e-3, rtol=1e-4)


def _computed(layer: nn.Module, x: Tensor, dy: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Outputs, and gradients of the input and the parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return y.detach(), *torch.autograd.grad(y, (x, *parameters), dy)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    draw = generator(0)
    x, dy = (torch.randn(IMAGES, CHANNELS, SIDE, SIDE, generator=draw) for _ in range(2))
    ways: dict[str, Way] = {}
    for name, layout in LAYOUTS.items():
        layer = dense()
        layer.weight.data = layer.weight.contiguous(memory_format=layout)
        ways[name] = way(layer, *(each.contiguous(memory_format=layout) for each in (x, dy)))
    inner, inner_dy = batch_innermost(x), batch_innermost(dy)
    for density in DENSITIES:
        check(sparse(density), x, dy)
        ways[f"compressed at {density}"] = way(sparse(density), inner, inner_dy)
    seconds = medians(ways, options.seconds)
    fastest = min(seconds[name] for name in LAYOUTS)
    for name, taken in seconds.items():
        print(f"{name}: {1e3 * taken:.2f} ms, {fastest / taken:.2f} times as fast as dense torch")
    keep("convolution_step", {name: 1e3 * taken for name, taken in seconds.items()})


if __name__ == "__main__":
    main()
