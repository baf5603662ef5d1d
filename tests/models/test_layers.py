"""Sparse layers: the mask holds, counts are exact, connections travel with the weights."""

import copy
import io
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.connections import Connections, random_connections
from models.layers import Dropout, SparseConv2d, SparseLayer, SparseLinear, activation, initialise, sparse_layers
from models.layers.activations import Activation
from models.rewired import Rewired
from models.seeds import generator
from models.types import Storage

Make = Callable[..., SparseLayer]


def linear(density: float = 0.3, seed: int = 0, **options: object) -> SparseLinear:
    return SparseLinear(12, 7, density=density, generator=generator(seed), **options)  # type: ignore[arg-type]


def conv(density: float = 0.3, seed: int = 0, **options: object) -> SparseConv2d:
    return SparseConv2d(3, 5, 3, 2, 1, density=density, generator=generator(seed), **options)  # type: ignore[arg-type]


INPUTS = {SparseLinear: (4, 12), SparseConv2d: (4, 3, 9, 8)}
MAKERS = [partial(make, storage=storage) for make in (linear, conv) for storage in ("masked", "compressed")]
LAYERS = pytest.mark.parametrize("make", MAKERS, ids=lambda make: f"{make.func.__name__}-{make.keywords['storage']}")
DENSITIES = pytest.mark.parametrize("density", [0.05, 0.5, 1.0])


def inputs(layer: SparseLayer) -> Tensor:
    return torch.randn(INPUTS[type(layer)], generator=generator(99))  # type: ignore[index]


def ordinary(layer: SparseLayer, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, SparseLinear):
        return functional.linear(x, weight, layer.bias)
    assert isinstance(layer, SparseConv2d)
    return functional.conv2d(x, weight, layer.bias, stride=2, padding=1)


def agree(layer: SparseLayer, found: Tensor, expected: Tensor) -> bool:
    """Equal bit for bit where torch computes both, else to float tolerance."""
    if layer.storage == "masked":
        return torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().abs().max()))
    return True


def other_connections(layer: SparseLayer, seed: int = 5) -> Rewired:
    """Half of the connections stay, as many grow elsewhere, with values of their own."""
    before = layer.connections
    kept = Connections(before.shape, before.positions[::2])
    grown = kept.sample_absent(before.nnz - kept.nnz, generator(seed))
    after = Connections(before.shape, torch.cat([kept.positions, grown]).sort().values)
    return Rewired(after, grown, torch.randn(grown.numel(), generator=generator(seed)))


@LAYERS
@DENSITIES
def test_a_layer_has_exactly_the_connections_of_its_density(make: Make, density: float) -> None:
    layer = make(density)
    total = layer.to_dense().numel()
    assert layer.connections.nnz == layer.count_active() == layer.values.numel() == round(density * total)
    assert int(layer.to_dense().count_nonzero()) == round(density * total)
    assert layer.storage == make.keywords["storage"]  # type: ignore[attr-defined]


@LAYERS
@DENSITIES
def test_the_forward_pass_is_that_of_the_dense_layer_with_zeros(make: Make, density: float) -> None:
    layer = make(density)
    assert agree(layer, layer(inputs(layer)), ordinary(layer, inputs(layer), layer.to_dense()))


@LAYERS
def test_leading_dimensions_are_torchs(make: Make) -> None:
    layer = make()
    batch = inputs(layer)
    shapes = [(12,), (1, 12), (2, 3, 12)] if isinstance(layer, SparseLinear) else [(3, 9, 8), (1, 3, 9, 8)]
    for shape in shapes:
        x = batch.flatten()[:1].expand(shape) * torch.randn(shape, generator=generator(3))
        found, expected = layer(x), ordinary(layer, x, layer.to_dense())
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected)


@LAYERS
def test_outputs_may_be_changed_in_place(make: Make) -> None:
    layer = make()
    expected = functional.relu(layer(inputs(layer)))
    changed = functional.relu(layer(inputs(layer)), inplace=True)
    assert torch.equal(changed, expected)
    changed.sum().backward()


@LAYERS
@DENSITIES
def test_gradients_are_those_of_the_dense_layer_at_active_weights_and_zero_elsewhere(
    make: Make, density: float
) -> None:
    layer = make(density)
    layer(inputs(layer)).square().sum().backward()
    dense = layer.to_dense().requires_grad_()
    ordinary(layer, inputs(layer), dense).square().sum().backward()
    assert layer.parameter.grad is not None
    assert dense.grad is not None
    expected = dense.grad.flatten()[layer.connections.positions]
    torch.testing.assert_close(layer.gather(layer.parameter.grad), expected)
    assert torch.equal(layer.scatter(layer.gather(layer.parameter.grad)), layer.parameter.grad)


@LAYERS
def test_a_layer_whose_weights_are_frozen_hands_gradients_back(make: Make) -> None:
    layer = make()
    x, same = inputs(layer).requires_grad_(), inputs(layer).requires_grad_()
    layer.requires_grad_(False)(x).square().sum().backward()
    ordinary(layer, same, layer.to_dense()).square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, same.grad)


@LAYERS
def test_numbers_in_place_of_parameters_may_lie_apart(make: Make) -> None:
    layer = make()
    apart = {name: torch.stack([each.detach()] * 3, dim=-1)[..., 1] for name, each in layer.named_parameters()}
    assert not any(each.is_contiguous() for each in apart.values())
    torch.testing.assert_close(torch.func.functional_call(layer, apart, (inputs(layer),)), layer(inputs(layer)))


@pytest.mark.parametrize("make", [linear, conv])
def test_noise_outside_the_mask_never_shows(make: Make) -> None:
    layer = make(storage="masked")
    before, dense, values = layer(inputs(layer)), layer.to_dense(), layer.values.clone()
    with torch.no_grad():
        noise = torch.randn(layer.parameter.shape, generator=generator(3)) * 100
        layer.parameter.copy_(layer.scatter(layer.values, noise))
    assert torch.equal(layer(inputs(layer)), before)
    assert torch.equal(layer.to_dense(), dense)
    assert torch.equal(layer.values, values)
    assert layer.count_active() == layer.connections.nnz


@LAYERS
def test_values_are_the_active_weights_in_position_order(make: Make) -> None:
    layer = make()
    assert torch.equal(layer.values, layer.to_dense().flatten()[layer.connections.positions])
    layer.assign(torch.arange(1.0, layer.connections.nnz + 1))
    assert layer.values.tolist() == list(range(1, layer.connections.nnz + 1))


@LAYERS
def test_after_a_rewiring_survivors_keep_their_weight_bit_for_bit_and_the_grown_have_theirs(make: Make) -> None:
    layer = make()
    dense, parameter = layer.to_dense().flatten(), layer.parameter
    rewired = other_connections(layer)
    layer.rewire(rewired)
    after = layer.to_dense().flatten()
    assert torch.equal(after[rewired.survivors], dense[rewired.survivors])
    assert torch.equal(after[rewired.grown], rewired.values)
    assert int(after.count_nonzero()) == rewired.connections.nnz == layer.count_active()
    assert layer.connections.hash() == rewired.connections.hash()
    assert layer.parameter is parameter
    dense = after.view(rewired.connections.shape)
    assert agree(layer, layer(inputs(layer)), ordinary(layer, inputs(layer), dense))


@LAYERS
def test_carried_state_is_kept_by_survivors_and_initial_everywhere_else(make: Make) -> None:
    layer = make()
    rewired = other_connections(layer)
    state = torch.randn(layer.parameter.shape, generator=generator(1))
    kept, survivors = layer.gather(state, rewired.survivors), rewired.survivors
    before, grown = dict(zip(layer.connections.positions.tolist(), layer.gather(state), strict=True)), rewired.grown
    assert kept.tolist() == [float(before[position]) for position in survivors.tolist()]
    layer.rewire(rewired)
    carried = layer.scatter(kept, 7.0, survivors)
    assert carried.shape == layer.parameter.shape
    assert torch.equal(layer.gather(carried, survivors), kept)
    assert layer.gather(carried, grown).tolist() == [7.0] * len(grown)
    assert int((carried != 7).sum()) == len(survivors)
    initial = torch.randn(layer.parameter.shape, generator=generator(2))
    carried = layer.scatter(kept, initial, survivors)
    assert torch.equal(layer.gather(carried, survivors), kept)
    assert torch.equal(layer.gather(carried, grown), layer.gather(initial, grown))
    assert int((carried != initial).sum()) == len(survivors)


@LAYERS
@pytest.mark.parametrize("density", [0.3, 1.0])
def test_a_saved_layer_is_restored_into_one_with_other_connections(make: Make, density: float) -> None:
    saved, layer = make(density), make(0.6, seed=8)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    parameter = layer.parameter
    layer.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert layer.connections.hash() == saved.connections.hash()
    assert torch.equal(layer.values, saved.values)
    assert torch.equal(layer(inputs(layer)), saved(inputs(saved)))
    assert layer.count_active() == saved.count_active()
    assert layer.parameter is parameter


@LAYERS
def test_loading_is_strict(make: Make) -> None:
    layer = make()
    state = layer.state_dict()
    with pytest.raises(RuntimeError, match=r"Missing key.*positions"):
        layer.load_state_dict({key: value for key, value in state.items() if key != "positions"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*further"):
        layer.load_state_dict({**state, "further": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="shape"):
        layer.load_state_dict({**state, "values": state["values"][1:]})
    with pytest.raises(RuntimeError, match="ascending"):
        layer.load_state_dict({**state, "positions": state["positions"].flip(0)})


@LAYERS
def test_a_copy_has_weights_and_connections_of_its_own(make: Make) -> None:
    layer = make()
    before = layer.connections.hash()
    twin = copy.deepcopy(layer)
    twin.rewire(other_connections(twin))
    assert layer.connections.hash() == before != twin.connections.hash()
    assert layer.count_active() == layer.connections.nnz


@LAYERS
def test_a_layer_may_change_its_type(make: Make) -> None:
    layer = make().double()
    layer.rewire(other_connections(layer))
    assert layer(inputs(layer).double()).dtype == layer.values.dtype == torch.float64


@LAYERS
@pytest.mark.parametrize("density", [0, -0.5, 1.5, math.nan])
def test_a_density_outside_its_range_is_refused_with_value_and_range(make: Make, density: float) -> None:
    with pytest.raises(ValueError, match=f"density: {density} is not allowed; it must be > 0 and <= 1"):
        make(density)


def test_a_density_that_leaves_no_connection_is_refused() -> None:
    with pytest.raises(ValueError, match=r"density: 0.001 is not allowed; it leaves none of 84 connections"):
        linear(0.001)


@LAYERS
def test_an_unknown_storage_is_refused_with_the_known_ones(make: Make) -> None:
    with pytest.raises(
        ValueError, match="storage: 'sparse' is not allowed; it must be one of auto, masked, compressed"
    ):
        make(storage="sparse")


@LAYERS
def test_connections_of_another_shape_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"connections: shape \(7, 11\) is not allowed"):
        make(connections=random_connections((7, 11), 5, generator(0)))


@LAYERS
def test_given_connections_are_taken(make: Make) -> None:
    connections = random_connections(tuple(make().to_dense().shape), 9, generator(4))
    layer = make(connections=connections)
    assert layer.connections.hash() == connections.hash()


@LAYERS
def test_a_layer_may_do_without_a_bias(make: Make) -> None:
    layer = make(bias=False)
    assert layer.bias is None
    assert set(layer.state_dict()) == {"values", "positions"}
    assert agree(layer, layer(inputs(layer)), ordinary(layer, inputs(layer), layer.to_dense()))


@LAYERS
def test_the_same_generator_makes_the_same_layer(make: Make) -> None:
    one, other = make(seed=3), make(seed=3)
    assert torch.equal(one.to_dense(), other.to_dense())
    assert one.connections.hash() != make(seed=4).connections.hash()


@pytest.mark.parametrize("storage", ["masked", "compressed"])
def test_a_convolution_takes_the_geometry_of_torchs(storage: Storage) -> None:
    layer = SparseConv2d(2, 4, (3, 5), (1, 2), "valid", 2, density=0.5, storage=storage, generator=generator(0))
    x = torch.randn(2, 2, 12, 20, generator=generator(1))
    expected = functional.conv2d(x, layer.to_dense(), layer.bias, (1, 2), "valid", 2)
    assert agree(layer, layer(x), expected)


def test_a_channels_last_convolution_rewires_as_any_other() -> None:
    plain, layer = conv(storage="masked"), conv(storage="masked")
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = torch.randn(plain.parameter.shape, generator=generator(1))
    rewired = other_connections(plain)
    for each in (plain, layer):
        each.rewire(rewired)
    assert torch.equal(layer.to_dense(), plain.to_dense())
    kept = layer.gather(state.to(memory_format=torch.channels_last), rewired.survivors)
    assert torch.equal(kept, plain.gather(state, rewired.survivors))
    carried = layer.scatter(kept, 7.0, rewired.survivors)
    assert torch.equal(carried, plain.scatter(kept, 7.0, rewired.survivors))
    assert carried.stride() == layer.parameter.stride()


def test_sparse_layers_are_found_by_name_in_module_order() -> None:
    network = nn.Sequential(nn.Sequential(linear(), nn.ReLU()), nn.Linear(7, 3), conv())
    assert list(sparse_layers(network)) == ["0.0", "2"]
    assert sparse_layers(network)["2"] is network[2]


@pytest.mark.parametrize(
    ("name", "gain"),
    [("relu", math.sqrt(2)), ("silu", math.sqrt(2)), ("sigmoid", 1), ("linear", 1), ("prelu", math.sqrt(2 / 1.0625))],
)
def test_first_weights_have_the_variance_of_each_units_own_fan_in(name: Activation, gain: float) -> None:
    mask = torch.zeros(2, 4000, dtype=torch.bool)
    mask[0, ::2] = True
    mask[1, ::40] = True
    layer = SparseLinear(4000, 2, connections=Connections.from_mask(mask))
    draws = []
    for seed in range(20):
        initialise(layer, name, generator(seed))
        draws.append(layer.to_dense())
    for unit, fan_in in ((0, 2000), (1, 100)):
        drawn = torch.cat([draw[unit][mask[unit]] for draw in draws]) * math.sqrt(fan_in) / gain
        assert float(drawn.std()) == pytest.approx(1, abs=4 / math.sqrt(2 * drawn.numel()))
        assert float(drawn.mean()) == pytest.approx(0, abs=4 / math.sqrt(drawn.numel()))


def test_initialising_sets_biases_to_zero_and_copes_with_units_without_connections() -> None:
    layer = SparseLinear(3, 4, connections=Connections((4, 3), torch.tensor([4])))
    assert layer.bias is not None
    nn.init.ones_(layer.bias)
    initialise(layer, "relu", generator(0))
    assert layer.bias.tolist() == [0, 0, 0, 0]
    assert bool(layer.to_dense().isfinite().all())


def test_an_unknown_activation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="activation: 'tanh' is not allowed; it must be one of relu"):
        activation("tanh", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="activation: 'tanh' is not allowed; it must be one of relu"):
        initialise(linear(), "tanh", generator(0))  # type: ignore[arg-type]


def test_srelu_has_three_pieces_with_learned_joints_and_slopes() -> None:
    unit = activation("srelu", 2)
    with torch.no_grad():
        for parameter, values in zip(unit.parameters(), [(-1, 0), (0.5, 0.2), (2, 1), (3, 1)], strict=True):
            parameter.copy_(torch.tensor(values))
    x = torch.tensor([[-3.0, -1.0], [-1.0, 0.0], [0.5, 0.5], [2.0, 1.0], [4.0, 5.0]])
    expected = torch.tensor([[-2.0, -0.2], [-1.0, 0.0], [0.5, 0.5], [2.0, 1.0], [8.0, 5.0]])
    torch.testing.assert_close(unit(x), expected)
    images = x.T.reshape(1, 2, 5, 1)
    assert torch.equal(unit(images).reshape(2, 5).T, unit(x))


def test_srelus_gradients_are_those_of_its_pieces() -> None:
    unit = activation("srelu", 1).double()
    with torch.no_grad():
        for parameter, value in zip(unit.parameters(), (-1, 0.5, 2, 3), strict=True):
            parameter.fill_(value)
    unit(torch.tensor([[-3.0], [0.5], [4.0]], dtype=torch.float64)).sum().backward()
    # left: 1 - .5; its slope: -3 + 1; right: 1 - 3; its slope: 4 - 2
    assert [float(parameter.grad) for parameter in unit.parameters()] == [0.5, -2, -2, 2]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["relu", "silu", "prelu", "elu", "srelu", "sigmoid"])
def test_every_activation_takes_rows_and_images(name: Activation) -> None:
    unit = activation(name, 3)
    assert unit(torch.randn(4, 3)).shape == (4, 3)
    assert unit(torch.randn(4, 3, 5, 6)).shape == (4, 3, 5, 6)


def test_dropout_keeps_the_expectation_and_leaves_evaluation_alone() -> None:
    dropout = Dropout(0.25, generator(0))
    dropped = dropout(torch.ones(200, 200))
    torch.testing.assert_close(dropped.unique(), torch.tensor([0, 1 / 0.75]))
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 40000))
    assert torch.equal(dropout.eval()(torch.ones(5)), torch.ones(5))


def test_dropout_draws_from_its_own_stream() -> None:
    one, other = Dropout(0.5, generator(1)), Dropout(0.5, generator(1))
    first = one(torch.ones(50))
    torch.rand(3)
    assert torch.equal(other(torch.ones(50)), first)
    state = one.generator.get_state()
    second = one(torch.ones(50))
    one.generator.set_state(state)
    assert torch.equal(one(torch.ones(50)), second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_dropout_refuses_what_is_no_probability_below_one(p: float) -> None:
    with pytest.raises(ValueError, match=f"p: {p} is not allowed"):
        Dropout(p, generator(0))
