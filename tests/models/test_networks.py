from typing import Any, get_args

import pytest
import torch
from torch import nn

from models.connections import random_connections
from models.layers import (
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    MaxPool2d,
    SparseConv2d,
    SparseRecurrent,
    activation,
    sparse_layers,
)
from models.networks import MLP, VGG, AnyNetwork, LeNet5, LeNet300100, ResNet
from models.networks.stack import Activation
from models.seeds import generator
from models.types import kind_of, members

IMAGE = (1, 28, 28)
NETWORKS = [member() for member in members(AnyNetwork)]
CONVOLUTIONAL = [LeNet5(), VGG(), VGG(channels=(4, 8), stride=2, widths=()), ResNet(channels=(4, 8, 16))]


def named(setting: Any) -> str:
    return kind_of(type(setting))


def built(network: Any, input_shape: tuple[int, ...] = IMAGE, density: float = 0.3, seed: int = 0) -> nn.Module:
    draw = generator(seed, "connections")
    layers = network.layers(input_shape, 10)
    connections = [random_connections(layer.weight, round(density * layer.total), draw) for layer in layers]
    return network.build(input_shape, 10, connections, generator(seed, "weights"))


@pytest.mark.parametrize("network", NETWORKS, ids=named)
def test_the_sparse_layers_are_those_announced_with_the_connections_given(network: Any) -> None:
    draw = generator(0, "connections")
    layers = network.layers(IMAGE, 10)
    connections = [random_connections(layer.weight, layer.total // 3, draw) for layer in layers]
    live = sparse_layers(network.build(IMAGE, 10, connections, generator(0, "weights")))
    assert list(live) == [layer.name for layer in layers]
    assert [layer.connections.shape for layer in live.values()] == [layer.weight for layer in layers]
    assert [layer.connections.hash() for layer in live.values()] == [each.hash() for each in connections]
    assert layers[-1].name == "output"


@pytest.mark.parametrize("network", NETWORKS, ids=named)
def test_a_network_maps_a_batch_to_one_output_per_class(network: Any) -> None:
    assert built(network)(torch.randn(3, *IMAGE)).shape == (3, 10)


@pytest.mark.parametrize("network", CONVOLUTIONAL, ids=named)
def test_the_announced_positions_are_those_of_the_feature_maps(network: Any) -> None:
    module, seen = built(network), {}
    for name, layer in sparse_layers(module).items():
        layer.register_forward_hook(
            lambda layer, inputs, output, name=name: seen.update(
                {name: output[0, 0].numel() if output.ndim == 4 else 1}
            )
        )
    module(torch.randn(2, *IMAGE))
    assert seen == {layer.name: layer.positions for layer in network.layers(IMAGE, 10)}


def test_the_published_sizes() -> None:
    totals = {
        LeNet300100(): 266_200,
        LeNet5(): 430_500,
        VGG(channels=(16, 32, 64), stride=2, widths=(128,)): 155_536,
        MLP(widths=(1000, 1000, 1000)): 2_794_000,
    }
    for network, total in totals.items():
        assert sum(layer.total for layer in network.layers(IMAGE, 10)) == total
    small = VGG(channels=(16, 32, 64), stride=2, widths=(128,)).layers(IMAGE, 10)
    assert [layer.positions for layer in small] == [196, 49, 16, 1, 1]


@pytest.mark.parametrize("network", NETWORKS, ids=named)
def test_scaling_changes_hidden_sizes_and_nothing_else(network: Any) -> None:
    fields = {"keep_dense": ("output",), "dropout": 0.25, "activation": "silu"}
    given = {name: value for name, value in fields.items() if hasattr(network, name)}
    kept = type(network)(**given)
    same, double, tiny = (kept.scaled(factor) for factor in (1.0, 2.0, 1e-6))
    shapes = [layer.weight for layer in kept.layers(IMAGE, 10)]
    assert [layer.weight for layer in same.layers(IMAGE, 10)] == shapes
    assert [layer.weight[0] for layer in double.layers(IMAGE, 10)] == [*(2 * shape[0] for shape in shapes[:-1]), 10]
    gates = getattr(network, "layer", SparseRecurrent).gates if hasattr(network, "units") else 1
    assert [layer.weight[0] for layer in tiny.layers(IMAGE, 10)] == [*(gates for _ in shapes[:-1]), 10]
    assert [layer.name for layer in tiny.layers(IMAGE, 10)] == [layer.name for layer in kept.layers(IMAGE, 10)]
    assert {name: getattr(double, name) for name in given} == given


@pytest.mark.parametrize("network", CONVOLUTIONAL, ids=named)
def test_a_convolutional_network_refuses_what_is_no_image(network: Any) -> None:
    with pytest.raises(ValueError, match=r"needs images .* not \(40,\)"):
        network.layers((40,), 10)


@pytest.mark.parametrize("network", [LeNet5(), VGG(channels=(4, "pool", 4, "pool", 4, "pool", 4, "pool"))], ids=named)
def test_too_small_images_are_refused_with_the_step_that_loses_them(network: Any) -> None:
    with pytest.raises(ValueError, match="too small"):
        network.layers((1, 8, 8), 10)


def test_an_mlp_takes_vectors_and_flattens_images() -> None:
    network = MLP(widths=(5,))
    assert network.layers((1, 4, 6), 3) == network.layers((24,), 3)
    images, vectors = (built(network, shape) for shape in ((1, 4, 6), (24,)))
    x = torch.randn(2, 1, 4, 6)
    assert torch.equal(images(x), vectors(x.flatten(1)))


@pytest.mark.parametrize("network", [MLP(batch_norm=True, dropout=0.5), VGG(dropout=0.5)], ids=named)
def test_building_neither_reads_nor_changes_the_global_random_state(network: Any) -> None:
    outputs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        module = built(network)
        x = torch.ones(4, *IMAGE)
        outputs.append(module.train()(x))
        assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*outputs)


def test_hidden_layers_are_normed_before_and_dropped_after_the_activation() -> None:
    module = built(VGG(channels=(4, "pool"), widths=(6,), dropout=0.5))
    kinds = [type(part) for part in module.children()]
    assert kinds[:4] == [SparseConv2d, BatchNorm2d, nn.ReLU, MaxPool2d]
    assert kinds[6:9] == [BatchNorm1d, nn.ReLU, Dropout]
    assert len(kinds) == 10


@pytest.mark.parametrize("name", get_args(Activation))
def test_every_activation_of_the_settings_is_known_to_the_layers(name: str) -> None:
    x = torch.randn(3, 4)
    assert activation(name, 4)(x).shape == x.shape
    assert built(MLP(widths=(6,), activation=name), (4,))(x).shape == (3, 10)
