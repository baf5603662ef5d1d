"""What a rewiring sees of absent connections is what autograd says of a dense weight."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models import dense_gradient
from models.dense_gradient import DenseGradient, watching
from models.layers import SparseConv2d, SparseLayer, SparseLinear
from models.seeds import generator
from models.types import StorageKind

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided": {"stride": (2, 3), "padding": (1, 0)},
    "dilated": {"dilation": (2, 1), "padding": 2},
    "same": {"padding": "same", "kernel_size": (4, 2)},
    "valid": {"padding": "valid"},
}
storages = pytest.mark.parametrize("storage", ["masked", "compressed"])


def seen(layer: SparseLayer, x: Tensor, times: int = 1) -> DenseGradient:
    """Of a loss that is no mere sum, so that every output has a gradient of its own."""
    with watching([layer]) as [gradient]:
        outputs = [layer(x) for _ in range(times)]
        sum(output.sin().square().sum() for output in outputs).backward()
    return gradient


def by_autograd(layer: SparseLayer, x: Tensor) -> Tensor:
    """Of the same loss, by a weight that is dense."""
    weight = layer.to_dense().requires_grad_()
    if isinstance(layer, SparseConv2d):
        y = functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation)
    else:
        y = functional.linear(x, weight, layer.bias)
    y.sin().square().sum().backward()
    assert weight.grad is not None
    return weight.grad


@storages
@pytest.mark.parametrize("shape", [(5, 7), (7,), (2, 3, 7)], ids=str)
def test_of_a_linear_layer(storage: StorageKind, shape: tuple[int, ...]) -> None:
    layer = SparseLinear(7, 6, density=0.3, storage=storage, generator=generator(0)).double()
    x = torch.randn(shape, dtype=torch.float64, generator=generator(1))
    torch.testing.assert_close(seen(layer, x).whole(), by_autograd(layer, x))


@storages
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("options", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("batch", [(3,), ()], ids=["batch", "single"])
def test_of_a_convolution(storage: StorageKind, options: dict[str, Any], batch: tuple[int, ...]) -> None:
    options = {"kernel_size": 3, **options}
    layer = SparseConv2d(2, 5, density=0.3, storage=storage, generator=generator(0), **options).double()
    x = torch.randn((*batch, 2, 9, 8), dtype=torch.float64, generator=generator(1))
    torch.testing.assert_close(seen(layer, x).whole(), by_autograd(layer, x))


@storages
def test_a_layer_used_twice_has_the_sum(storage: StorageKind) -> None:
    layer = SparseLinear(7, 6, density=0.3, storage=storage, generator=generator(0)).double()
    x = torch.randn(5, 7, dtype=torch.float64, generator=generator(1))
    torch.testing.assert_close(seen(layer, x, times=2).whole(), 2 * by_autograd(layer, x))


@storages
@pytest.mark.parametrize("make", [lambda **o: SparseLinear(9, 7, **o), lambda **o: SparseConv2d(1, 7, 3, **o)])
def test_no_more_than_a_block_is_in_memory_at_once(make: Any, storage: StorageKind, monkeypatch: Any) -> None:
    monkeypatch.setattr(dense_gradient, "BLOCK", 20)
    layer = make(density=0.3, storage=storage, generator=generator(0))
    x = torch.randn((4, 9) if isinstance(layer, SparseLinear) else (4, 1, 5, 5), generator=generator(1))
    gradient = seen(layer, x)
    blocks = list(gradient.blocks())
    assert [(begin, len(block)) for begin, block in blocks] == [(0, 18), (18, 18), (36, 18), (54, 9)]
    torch.testing.assert_close(gradient.whole(), by_autograd(layer, x), rtol=1e-4, atol=1e-5)


def test_a_layer_whose_dense_gradient_fits_no_memory_gives_it_row_by_row() -> None:
    layer = SparseLinear(3_000_000, 3_000_000, density=1e-11, storage="compressed", generator=generator(0))
    x = torch.randn(2, 3_000_000, generator=generator(1))
    blocks = seen(layer, x).blocks()
    for row in range(2):
        begin, block = next(blocks)
        assert (begin, len(block)) == (row * 3_000_000, 3_000_000)


def test_nothing_is_watched_outside() -> None:
    layer = SparseLinear(3, 2, density=0.5, generator=generator(0))
    with watching([layer]) as [gradient]:
        pass
    layer(torch.ones(1, 3)).sum().backward()
    assert not gradient.whole().any()


def test_a_watched_step_is_the_same_step() -> None:
    layers = [SparseLinear(7, 6, density=0.3, generator=generator(0)) for _ in "ab"]
    x = torch.randn(5, 7, generator=generator(1))
    seen(layers[0], x)
    nn.Sequential(layers[1])(x).sin().square().sum().backward()
    assert torch.equal(layers[0].parameter.grad, layers[1].parameter.grad)
