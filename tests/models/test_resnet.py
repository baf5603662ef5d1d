from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.connections import Connections, random_connections
from models.layers import BatchNorm2d, Dropout, sparse_layers
from models.layers.layout import is_batch_innermost
from models.networks import MLP, ResNet
from models.networks.resnet_module import Shortcut
from models.seeds import generator

IMAGE = (3, 9, 10)
SMALL = (4, 8, 16)


def built(network: ResNet, storage: Any = "auto", density: float = 1.0) -> nn.Module:
    draw = generator(0, "connections")
    layers = network.layers(IMAGE, 4)
    active = [random_connections(layer.weight, max(1, round(density * layer.total)), draw) for layer in layers]
    return network.build(IMAGE, 4, active, generator(0, "weights"), storage)


def x(batch: int = 6) -> Tensor:
    return torch.randn(batch, *IMAGE, generator=generator(1))


def test_the_published_networks_have_the_published_sizes() -> None:
    # 0.27, 0.46, 0.66, 0.85 and 1.7 million parameters: He et al. 2016, table 6.
    for depth, total in {20: 268_336, 32: 461_872, 44: 655_408, 56: 848_944, 110: 1_719_856}.items():
        layers = ResNet(depth=depth).layers((3, 32, 32), 10)
        assert len(layers) == depth
        assert sum(layer.total for layer in layers) == total


def test_images_are_halved_twice_rounding_up() -> None:
    layers = {layer.name: layer for layer in ResNet(channels=SMALL).layers(IMAGE, 4)}
    assert layers["conv1"].positions == layers["block1_conv2"].positions == 9 * 10
    assert layers["block2_conv1"].positions == layers["block2_conv2"].positions == 5 * 5
    assert layers["block3_conv1"].positions == 3 * 3
    assert layers["block2_conv1"].weight == (8, 4, 3, 3)


def test_a_dense_network_computes_what_the_paper_says() -> None:
    module = built(ResNet(channels=SMALL, batch_norm=False))
    weights = {name: layer.to_dense() for name, layer in sparse_layers(module).items()}
    h = functional.conv2d(x(), weights["conv1"], padding=1).relu()
    for block, stride in ((1, 1), (2, 2), (3, 2)):
        inner = functional.conv2d(h, weights[f"block{block}_conv1"], stride=stride, padding=1).relu()
        inner = functional.conv2d(inner, weights[f"block{block}_conv2"], padding=1)
        shortcut = torch.zeros_like(inner)
        shortcut[:, : h.shape[1]] = h[:, :, ::stride, ::stride]
        h = (inner + shortcut).relu()
    expected = h.mean(dim=(2, 3)) @ weights["output"].t()
    torch.testing.assert_close(module(x()), expected)


def test_a_block_switched_off_is_its_shortcut_alone_and_the_others_keep_their_names() -> None:
    some = ResNet(channels=SMALL, blocks=(True, False, True))
    names = [layer.name for layer in some.layers(IMAGE, 4)]
    assert names == ["conv1", "block1_conv1", "block1_conv2", "block3_conv1", "block3_conv2", "output"]
    assert list(sparse_layers(built(some))) == names
    whole, without = (
        built(ResNet(channels=SMALL, batch_norm=False)),
        built(ResNet(channels=SMALL, blocks=(True, False, True), batch_norm=False)),
    )
    # A block whose last convolution is 0 adds nothing: the shortcut of positive numbers passes its activation.
    layers = sparse_layers(whole)
    for name, layer in sparse_layers(without).items():
        layer.assign(layers[name].values.detach())
    layers["block2_conv2"].assign(torch.zeros(layers["block2_conv2"].connections.nnz))
    torch.testing.assert_close(without(x()), whole(x()))


def test_without_any_block_the_stem_is_pooled_and_read_out() -> None:
    module = built(ResNet(channels=SMALL, blocks=(False,) * 3))
    assert list(sparse_layers(module)) == ["conv1", "output"]
    assert module(x()).shape == (6, 4)


def test_in_compressed_storage_the_batch_stays_innermost_all_the_way_and_back() -> None:
    module, seen = built(ResNet(channels=SMALL), "compressed", 0.4), []

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(is_batch_innermost(output))
        seen.extend(is_batch_innermost(each) for each in inputs if each.shape[1:] != IMAGE)

    def look_back(module: nn.Module, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]) -> None:
        seen.extend(is_batch_innermost(each) for each in inputs if each is not None)

    for part in module.children():
        part.register_forward_hook(look)
        if isinstance(part, BatchNorm2d):
            part.register_full_backward_hook(look_back)
    module(x()).square().sum().backward()
    assert len(seen) > 30
    assert all(seen)


@pytest.mark.parametrize("innermost", [True, False])
def test_a_shortcut_takes_every_second_pixel_and_fills_up_with_zeros(innermost: bool) -> None:
    images = torch.randn(3, 2, 5, 4, generator=generator(0), dtype=torch.float64)
    given = images.movedim(0, -1).contiguous().movedim(-1, 0) if innermost else images
    found = Shortcut(stride=2, out=5)(given.requires_grad_())
    assert torch.equal(found[:, :2], images[:, :, ::2, ::2])
    assert found.shape == (3, 5, 3, 2)
    assert not found[:, 2:].any()
    assert is_batch_innermost(found) == innermost
    assert Shortcut(stride=1, out=2)(given) is given


def test_a_perceptron_with_skips_adds_what_a_layer_gives_to_what_it_got() -> None:
    network = MLP(widths=(7, 7, 5, 5), skip=True, activation="silu")
    module = network.build((12,), 3, [Connections.full(each.weight) for each in network.layers((12,), 3)], generator(0))
    weights = [layer.to_dense() for layer in sparse_layers(module).values()]
    inputs = torch.randn(4, 12, generator=generator(1))
    h = functional.silu(inputs @ weights[0].t())
    h = h + functional.silu(h @ weights[1].t())
    h = functional.silu(h @ weights[2].t())
    h = h + functional.silu(h @ weights[3].t())
    torch.testing.assert_close(module(inputs), h @ weights[4].t())
    assert list(sparse_layers(module)) == ["fc1", "fc2", "fc3", "fc4", "output"]


def test_skips_leave_first_weights_as_they_are_and_take_images() -> None:
    plain = MLP(widths=(6, 6), batch_norm=True, dropout=0.2)
    active = [random_connections(each.weight, each.total // 2, generator(2)) for each in plain.layers(IMAGE, 4)]
    one, other = (each.build(IMAGE, 4, active, generator(3)) for each in (plain, replace(plain, skip=True)))
    assert list(one.state_dict()) == list(other.state_dict())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one.parameters(), other.parameters(), strict=True))
    assert other(x()).shape == (6, 4)
    assert not torch.equal(one.eval()(x()), other.eval()(x()))


def test_skips_without_two_layers_of_one_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"skip: two hidden layers of one width .* not \[6, 5\]"):
        MLP(widths=(6, 5), skip=True)


def test_dropout_stands_between_the_convolutions_of_a_block() -> None:
    names = [
        name for name, part in built(ResNet(channels=SMALL, dropout=0.5)).named_children() if isinstance(part, Dropout)
    ]
    assert names == [f"block{number}_conv1_dropout" for number in (1, 2, 3)]


@pytest.mark.parametrize("depth", [2, 7, 9, 21])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"depth: {depth} is not allowed; it must be 6n \+ 2"):
        ResNet(depth=depth)


def test_a_wrong_number_of_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"blocks: 2 values are not allowed; depth 14 has 6"):
        ResNet(depth=14, blocks=(True, False))


def test_a_stage_of_fewer_channels_than_the_one_before_is_refused() -> None:
    with pytest.raises(ValueError, match=r"channels: \[16, 8, 8\] is not allowed; no stage may have fewer"):
        ResNet(channels=(16, 8, 8))
