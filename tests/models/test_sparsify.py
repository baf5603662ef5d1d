"""`sparsify`: any network becomes sparse with the weights it had."""

import copy
import math

import pytest
import torch
from torch import nn

from models.layers import SparseConv2d, SparseLayer, SparseLinear, sparse_layers
from models.seeds import generator
from models.sparsify import sparsify


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Sequential(nn.Linear(128, 20), nn.ReLU()),
        nn.Linear(20, 10),
    )


def counts(module: nn.Module) -> dict[str, int]:
    return {name: layer.count_active() for name, layer in sparse_layers(module).items()}


def test_one_density_is_spread_evenly_and_exactly() -> None:
    assert counts(sparsify(network(), 0.1, generator=generator(0))) == {"0": 22, "3.0": 256, "4": 20}


def test_erk_spreads_it_by_the_shapes() -> None:
    made = counts(sparsify(network(), 0.1, allocation="erk", generator=generator(0)))
    assert sum(made.values()) == round(0.1 * (216 + 2560 + 200))
    assert made["4"] / 200 > made["3.0"] / 2560


def test_a_density_may_be_given_for_each_named_layer() -> None:
    made = sparsify(network(), {"3.0": 0.25, "4": 1.0}, generator=generator(0))
    assert counts(made) == {"3.0": 640, "4": 200}
    assert type(made[0]) is nn.Conv2d


def test_kept_layers_stay_dense_and_outside_the_total() -> None:
    made = sparsify(network(), 0.1, keep_dense=["0", "4"], generator=generator(0))
    assert counts(made) == {"3.0": 256}
    assert type(made[0]) is nn.Conv2d
    assert type(made[4]) is nn.Linear


def test_weights_that_stay_and_biases_are_the_modules() -> None:
    module = network()
    made = sparsify(module, 0.3, generator=generator(0))
    originals = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    for name, layer in sparse_layers(made).items():
        mask = layer.connections.mask()
        assert torch.equal(layer.to_dense(), originals[name].weight.detach() * mask)
        assert (layer.bias is None) == (originals[name].bias is None)
        if layer.bias is not None:
            assert torch.equal(layer.bias, originals[name].bias)


def test_at_density_one_the_network_computes_the_same_and_the_module_is_left_alone() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    made = sparsify(module, 1.0)
    x = torch.randn(4, 3, 8, 8, generator=generator(1))
    torch.testing.assert_close(made(x), module(x))
    made(x).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_single_layer_is_a_module_too() -> None:
    assert isinstance(sparsify(nn.Linear(10, 5), 0.5), SparseLinear)
    assert isinstance(sparsify(nn.Conv2d(3, 5, 3), {"": 0.5}), SparseConv2d)


def test_a_layer_used_twice_stays_one_layer() -> None:
    shared = nn.Linear(8, 8)
    made = sparsify(nn.Sequential(shared, nn.ReLU(), shared), 0.5, generator=generator(0))
    assert made[0] is made[2]
    assert counts(made) == {"0": 32}


def test_type_mode_and_frozen_weights_are_kept() -> None:
    module = network().double().eval()
    module[4].weight.requires_grad_(False)
    made = sparsify(module, 0.5, generator=generator(0))
    assert all(layer.values.dtype == torch.float64 for layer in sparse_layers(made).values())
    assert not any(part.training for part in made.modules())
    assert [layer.parameter.requires_grad for layer in sparse_layers(made).values()] == [True, True, False]


def test_only_the_given_stream_is_used() -> None:
    module = network()
    before = torch.get_rng_state()
    one, other = (sparsify(module, 0.2, generator=generator(5)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    hashes = [[layer.connections.hash() for layer in sparse_layers(made).values()] for made in (one, other)]
    assert hashes[0] == hashes[1]


def test_a_transformer_encoder_computes_with_its_sparse_layers_in_training_and_evaluation() -> None:
    torch.manual_seed(0)
    encoder = sparsify(nn.TransformerEncoderLayer(16, 2, 32, dropout=0, batch_first=True), 0.3, generator=generator(0))
    x = torch.randn(2, 5, 16, generator=generator(1))
    trained = encoder.train()(x)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(x), trained.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("density", [0, 1.5, -1.0, math.nan])
def test_a_density_outside_its_range_is_refused(density: float) -> None:
    for densities in (density, {"4": density}):
        with pytest.raises(ValueError, match=f"density: {density} is not allowed; it must be > 0 and <= 1"):
            sparsify(network(), densities)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"densities": {"fc9": 0.5}}, "layer: 'fc9' is not allowed; it must be one of 0, 3.0, 4"),
        ({"densities": 0.5, "keep_dense": ["1"]}, "layer: '1' is not allowed"),
        ({"densities": {"4": 0.5}, "keep_dense": ["0"]}, "keep_dense is not allowed with"),
        ({"densities": 0.5, "allocation": "er"}, "allocation: 'er' is not allowed; it must be one of uniform, erk"),
        ({"densities": 0.5, "storage": "dense"}, "storage: 'dense' is not allowed"),
    ],
)
def test_what_is_not_allowed_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sparsify(network(), **options)  # type: ignore[arg-type]


def test_a_module_without_such_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        sparsify(nn.ReLU(), 0.5)


@pytest.mark.parametrize("options", [{"groups": 2}, {"padding": 1, "padding_mode": "circular"}])
def test_convolutions_of_another_kind_are_refused_unless_kept(options: dict[str, object]) -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3, **options), nn.Conv2d(4, 2, 1))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0: groups="):
        sparsify(module, 0.5)
    assert isinstance(sparsify(module, 0.5, keep_dense=["0"])[1], SparseLayer)  # type: ignore[index]


def test_a_weight_shared_with_another_module_is_refused() -> None:
    module = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))
    module[1].weight = module[0].weight
    with pytest.raises(ValueError, match="1: its weight belongs to another module too"):
        sparsify(module, 0.5)
