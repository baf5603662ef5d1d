"""Optimizers: what decays, and state that follows its connection, for every one that a job may ask for."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from models import optimizers
from models.connections import places
from models.layers import SparseConv2d, SparseLinear, sparse_layers
from models.optimizer_state import is_per_weight
from models.optimizers import AnyOptimizer
from models.rewiring import SET, Moment, Rewired
from models.seeds import generator
from models.types import Storage, members

SETTINGS = [
    *(member() for member in members(AnyOptimizer)),
    optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.SGD(momentum=0.0),
    optimizers.Adam(weight_decay=0.01),
    optimizers.RMSprop(momentum=0.5, weight_decay=0.01),
    optimizers.ASGD(weight_decay=0.01),
]
STORAGES = pytest.mark.parametrize("storage", ["masked", "compressed"])
settings = pytest.mark.parametrize("setting", SETTINGS, ids=repr)
MIDWAY = Moment(step=3, steps=30, epoch=1, epochs=3, ends_epoch=True)


def network(density: float = 0.3, storage: Storage = "masked") -> nn.Sequential:
    stream = generator(0)
    return nn.Sequential(
        SparseConv2d(1, 4, 3, padding=1, density=density, storage=storage, generator=stream),
        nn.BatchNorm2d(4),
        nn.PReLU(4),
        nn.Flatten(),
        SparseLinear(64, 10, density=density, storage=storage, generator=stream),
    )


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> float:
    x = torch.randn(8, 1, 4, 4, generator=generator(seed))
    y = torch.randint(10, (8,), generator=generator(seed))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(module(x), y)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def rewire(module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Rewired]:
    layers = list(sparse_layers(module).values())
    _, decided = SET(grown="normal")(None, layers, MIDWAY, generator(7))
    optimizers.rewire(layers, decided, optimizer)
    return [after for after in decided if after is not None]


def state_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    return {name: value for name, value in optimizer.state[parameter].items() if isinstance(value, Tensor)}


def fresh_state(setting: AnyOptimizer, parameter: Tensor) -> dict[str, Tensor]:
    """What torch itself starts with: the state after a step without gradient and without decay.

    To 1e-7: Adamax adds its epsilon even then, and ASGD a decay of its own.
    """
    plain = copy.deepcopy(setting)
    if hasattr(plain, "weight_decay"):
        object.__setattr__(plain, "weight_decay", 0.0)
    holder = nn.ParameterList([nn.Parameter(parameter.detach().clone())])
    holder[0].grad = torch.zeros_like(holder[0])
    optimizer = optimizers.build(plain, holder)
    optimizer.step()
    return state_of(optimizer, holder[0])


@STORAGES
@settings
def test_survivors_keep_their_state_and_all_else_has_what_the_optimizer_starts_with(
    setting: AnyOptimizer, storage: Storage
) -> None:
    module = network(storage=storage)
    optimizer = optimizers.build(setting, module)
    for seed in range(3):
        step(module, optimizer, seed)
    layers = list(sparse_layers(module).values())
    positions = [layer.connections.positions for layer in layers]
    before = [
        {
            name: layer.gather(value).clone() if is_per_weight(value, layer.parameter) else value.clone()
            for name, value in state_of(optimizer, layer.parameter).items()
        }
        for layer in layers
    ]
    for layer, held, old, after in zip(layers, positions, before, rewire(module, optimizer), strict=True):
        now, initial = state_of(optimizer, layer.parameter), fresh_state(setting, layer.parameter)
        assert now.keys() == old.keys()
        for name, value in now.items():
            if not is_per_weight(value, layer.parameter):
                assert torch.equal(value, old[name])
                continue
            survived = layer.gather(value, after.survivors)
            assert torch.equal(survived, old[name][places(held, after.survivors)])
            expected = layer.scatter(survived, initial[name], after.survivors)
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


@settings
def test_what_lies_outside_the_mask_never_reaches_the_training(setting: AnyOptimizer) -> None:
    clean, noisy = network(), network()
    for layer in sparse_layers(noisy).values():
        noise = torch.randn(layer.parameter.shape, generator=generator(5)) * 10
        with torch.no_grad():
            layer.parameter.copy_(layer.scatter(layer.values, noise))
    curves = []
    for module in (clean, noisy):
        optimizer = optimizers.build(setting, module)
        losses = [step(module, optimizer, seed) for seed in range(3)]
        rewire(module, optimizer)
        curves.append(losses + [step(module, optimizer, seed) for seed in range(3, 6)])
    assert curves[0] == curves[1]
    for one, other in zip(sparse_layers(clean).values(), sparse_layers(noisy).values(), strict=True):
        assert torch.equal(one.to_dense(), other.to_dense())


@settings
def test_absent_connections_have_no_state_and_no_weight_after_further_steps(setting: AnyOptimizer) -> None:
    module = network()
    optimizer = optimizers.build(setting, module)
    for seed in range(2):
        step(module, optimizer, seed)
    rewire(module, optimizer)
    for seed in range(2, 4):
        step(module, optimizer, seed)
    for layer in sparse_layers(module).values():
        absent = ~layer.connections.mask()
        initial = fresh_state(setting, layer.parameter)
        for name, value in state_of(optimizer, layer.parameter).items():
            if is_per_weight(value, layer.parameter):
                torch.testing.assert_close(value[absent], initial[name][absent], rtol=1e-5, atol=1e-7)
        assert not layer.to_dense()[absent].any()


@settings
def test_a_rewiring_before_the_first_step_needs_no_state(setting: AnyOptimizer) -> None:
    module = network()
    optimizer = optimizers.build(setting, module)
    rewire(module, optimizer)
    assert math.isfinite(step(module, optimizer, 0))


@settings
def test_layers_that_stay_keep_everything(setting: AnyOptimizer) -> None:
    module = network()
    optimizer = optimizers.build(setting, module)
    step(module, optimizer, 0)
    layers = list(sparse_layers(module).values())
    weights = copy.deepcopy([layer.to_dense() for layer in layers])
    states = copy.deepcopy([state_of(optimizer, layer.parameter) for layer in layers])
    optimizers.rewire(layers, [None, None], optimizer)
    for layer, weight, state in zip(layers, weights, states, strict=True):
        assert torch.equal(layer.to_dense(), weight)
        now = state_of(optimizer, layer.parameter)
        assert all(torch.equal(now[name], value) for name, value in state.items())


@settings
def test_only_weights_of_sparse_layers_decay(setting: AnyOptimizer) -> None:
    module = network()
    optimizer = optimizers.build(setting, module)
    weights = {id(layer.parameter) for layer in sparse_layers(module).values()}
    groups = [group for group in optimizer.param_groups for _ in group["params"]]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, module.parameters()))
    for parameter, group in zip(held, groups, strict=True):
        expected = getattr(setting, "weight_decay", 0.0) if id(parameter) in weights else 0.0
        assert group.get("weight_decay", 0.0) == expected
        assert group["lr"] == setting.lr


@settings
def test_at_density_one_training_is_that_of_the_dense_network(setting: AnyOptimizer) -> None:
    sparse = network(density=1.0)
    dense = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(64, 10)
    )
    with torch.no_grad():
        for name, layer in sparse_layers(sparse).items():
            twin = dense[int(name)]
            twin.weight.copy_(layer.to_dense())
            twin.bias.zero_()
    ours = optimizers.build(setting, sparse)
    groups = [
        {"params": [dense[0].weight, dense[4].weight]},
        {"params": [p for p in dense.parameters() if p.ndim == 1]},
    ]
    options = {name: value for name, value in vars(setting).items() if name != "kind"}
    if "weight_decay" in options:
        groups[1]["weight_decay"] = 0.0
    theirs = type(ours)(groups, **options)
    ours_losses = [step(sparse, ours, seed) for seed in range(5)]
    assert ours_losses == pytest.approx([step(dense, theirs, seed) for seed in range(5)], rel=1e-4)


def test_state_follows_through_a_changed_learning_rate() -> None:
    module = network()
    optimizer = optimizers.build(optimizers.Rprop(lr=0.01), module)
    step(module, optimizer, 0)
    for group in optimizer.param_groups:
        group["lr"] = 0.002
    [first, _] = rewire(module, optimizer)
    layer = sparse_layers(module)["0"]
    step_size = optimizer.state[layer.parameter]["step_size"].flatten()
    assert step_size[first.grown].unique().tolist() == pytest.approx([0.002])


class Unknown(torch.optim.SGD):
    """Nobody knows what this one keeps."""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda parameters: torch.optim.Muon([p for p in parameters if p.ndim == 2]), "Muon is not allowed.*whole"),
        (lambda parameters: torch.optim.Adafactor(parameters), "Adafactor is not allowed.*rows and columns"),
        (lambda parameters: torch.optim.LBFGS(parameters), "LBFGS is not allowed.*history"),
        (lambda parameters: torch.optim.SparseAdam(parameters), "SparseAdam is not allowed.*strided"),
        (lambda parameters: Unknown(parameters), "Unknown is not allowed.*not known.*must be one of SGD, Adam"),
    ],
    ids=["Muon", "Adafactor", "LBFGS", "SparseAdam", "a subclass"],
)
def test_an_optimizer_whose_state_belongs_to_no_weight_is_refused_with_the_reason(make, reason: str) -> None:  # type: ignore[no-untyped-def]
    module = network()
    before = [layer.connections.hash() for layer in sparse_layers(module).values()]
    with pytest.raises(TypeError, match=reason):
        rewire(module, make(list(module.parameters())))
    assert [layer.connections.hash() for layer in sparse_layers(module).values()] == before


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match=r"SGD.nesterov: true is not allowed without momentum"):
        optimizers.SGD(momentum=0.0, nesterov=True)
