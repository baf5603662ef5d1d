"""Whatever the storage, the numbers are the same: layer by layer, and through whole trainings with rewirings."""

import io
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problem import IMAGE, begin, classes_in_space
from torch import Tensor
from torch.nn import functional

from models import checkpoint, optimizers
from models.connections import Connections, random_connections
from models.data.samples import Samples, Split
from models.layers import SparseConv2d, SparseLayer, SparseLinear
from models.networks import GRU, LSTM, MLP, VGG, LeNet5, ResNet
from models.optimizers import AnyOptimizer
from models.recipe import Training
from models.rewired import Rewired
from models.rewiring import DSR, SET, AnyRewiring, RigL, SparseMomentum
from models.rewiring.drop import CosineDrop
from models.seeds import generator
from models.training import Run
from models.types import StorageKind, members

STORAGES = pytest.mark.parametrize("storage", ["masked", "compressed"])
OPTIMIZERS = [
    *(member() for member in members(AnyOptimizer)),
    optimizers.SGD(momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizers.SGD(momentum=0.0),
]
NETWORKS = {
    "mlp": (MLP(widths=(16, 10), dropout=0.2), (12,)),
    "normed": (MLP(widths=(16, 10), batch_norm=True, activation="silu", keep_dense=("output",)), (12,)),
    "lenet5": (LeNet5(channels=(3, 4), width=8), (1, 20, 20)),
    "vgg": (VGG(channels=(4, "pool", 5), stride=2), IMAGE),
    "skips": (MLP(widths=(10, 10), skip=True, batch_norm=True), (12,)),
    "resnet": (ResNet(channels=(4, 8, 16), dropout=0.2), IMAGE),
    "lstm": (LSTM(units=(6, 5), dropout=0.2), IMAGE),
    "gru": (GRU(units=(6,)), (12,)),
}


def twins(make: type[SparseLayer], *sizes: int, count: int, seed: int, **options: object) -> list[SparseLayer]:
    """The same layer in both storages."""
    shape = (sizes[1], sizes[0], *([sizes[2]] * 2 if len(sizes) > 2 else []))
    connections = random_connections(shape, count, generator(seed))
    return [
        make(*sizes, connections=connections, storage=storage, generator=generator(seed), **options)  # type: ignore[arg-type]
        for storage in ("masked", "compressed")
    ]


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.detach().abs().max())))


def assert_same(masked: SparseLayer, compressed: SparseLayer, x: Tensor) -> None:
    """Outputs and every gradient, for outputs that all weigh differently."""
    found = []
    for layer in (masked, compressed):
        inputs = x.clone().requires_grad_()
        outputs = layer(inputs)
        (outputs * torch.randn(outputs.shape, generator=generator(1))).sum().backward()
        assert layer.parameter.grad is not None
        assert inputs.grad is not None
        gradients = [
            layer.gather(layer.parameter.grad),
            inputs.grad,
            *([layer.bias.grad] if layer.bias is not None else []),
        ]
        found.append([outputs.detach(), *gradients])
    for ours, theirs in zip(*found, strict=True):
        close(theirs, ours)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.floats(0, 1), st.booleans(), st.integers(0, 1000))
def test_linear_layers_agree_whatever_their_shape_batch_and_density(
    width: int, rows: int, batch: int, density: float, bias: bool, seed: int
) -> None:
    count = max(1, round(density * width * rows))
    masked, compressed = twins(SparseLinear, width, rows, count=count, seed=seed, bias=bias)
    assert_same(masked, compressed, torch.randn(batch, width, generator=generator(seed)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions_agree_whatever_their_geometry(data: st.DataObject) -> None:
    channels, out, kernel, batch = (data.draw(st.integers(1, most)) for most in (4, 5, 4, 6))
    stride, dilation = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    reach = dilation * (kernel - 1) + 1
    evenly = stride == 1 and reach % 2 == 1  # else torch refuses, or warns of a copy
    padding = data.draw(st.sampled_from([0, 1, 2, "valid", *(["same"] if evenly else [])]))
    pad = padding if isinstance(padding, int) else 0
    least = max(1, reach - 2 * pad)
    height, width = (data.draw(st.integers(least, least + 7)) for _ in range(2))
    seed = data.draw(st.integers(0, 1000))
    count = max(1, round(data.draw(st.floats(0, 1)) * channels * out * kernel**2))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "bias": data.draw(st.booleans())}
    masked, compressed = twins(SparseConv2d, channels, out, kernel, count=count, seed=seed, **options)
    assert_same(masked, compressed, torch.randn(batch, channels, height, width, generator=generator(seed)))


def test_the_padding_of_an_even_kernel_is_one_longer_at_the_end() -> None:
    masked, compressed = twins(SparseConv2d, 2, 3, 4, count=40, seed=0, padding="same")
    x = torch.randn(3, 2, 5, 6, generator=generator(0))
    padded = functional.conv2d(functional.pad(x, (1, 2, 1, 2)), masked.to_dense(), masked.bias)
    close(compressed(x), padded)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (SparseLinear(7, 5, density=0.4, storage="compressed", generator=generator(0)), (6, 7)),
        (SparseConv2d(2, 3, 3, 2, 1, density=0.4, storage="compressed", generator=generator(0)), (3, 2, 7, 6)),
    ],
    ids=["linear", "conv2d"],
)
def test_gradients_are_those_of_finite_differences(layer: SparseLayer, shape: tuple[int, ...]) -> None:
    layer = layer.double()
    x = torch.randn(shape, dtype=torch.float64, generator=generator(2), requires_grad=True)

    def outputs(x: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"stored.values": values, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(outputs, (x, layer.parameter, layer.bias))


def of(
    name: str,
    storage: StorageKind,
    optimizer: AnyOptimizer | None = None,
    rewiring: AnyRewiring | None = None,
    dtype: torch.dtype = torch.float64,
) -> Run:
    """A run, in double precision so that rounding decides no rewiring."""
    network, shape = NETWORKS[name]
    split = classes_in_space(shape, train=50)
    parts = [Samples(part.x.to(dtype), part.y) for part in (split.train, split.held_out)]
    split = Split(*parts, split.classes, shape)
    training = Training(epochs=3, batch_size=16, optimizer=optimizer or optimizers.SGD(lr=0.05, weight_decay=0.01))
    run = begin(network, split, 0.3, rewiring or SET(grown="normal"), training=training, storage=storage)
    run.network.to(dtype)
    run.optimizer = optimizers.build(training.optimizer, run.network)  # Adagrad has a state from the start
    return run


def assert_same_training(one: Run, other: Run) -> None:
    for ours, theirs in zip(one.train(), other.train(), strict=True):
        for field in ("train_loss", "loss", "accuracy", "churn", "egf_1", "egf_2"):
            assert getattr(theirs, field) == pytest.approx(getattr(ours, field), rel=1e-6), field
        assert theirs.nnz == ours.nnz
    for ours, theirs in zip(one.layers.values(), other.layers.values(), strict=True):
        assert ours.connections.hash() == theirs.connections.hash()
        torch.testing.assert_close(theirs.to_dense(), ours.to_dense(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_trainings_with_rewirings_agree_for_every_network(name: str) -> None:
    masked, compressed = of(name, "masked"), of(name, "compressed")
    assert {layer.storage for layer in compressed.layers.values()} == {"compressed"}
    assert_same_training(masked, compressed)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_trainings_with_rewirings_agree_for_every_optimizer(optimizer: AnyOptimizer) -> None:
    assert_same_training(of("mlp", "masked", optimizer), of("mlp", "compressed", optimizer))


@pytest.mark.parametrize(
    "rewiring",
    [
        SET(every=2),
        SET(last_epoch="prune_only"),
        SET(fraction=1.0),
        SET(removal="magnitude", drop=CosineDrop(), growth="unfired", every=2, until=0.8),
        RigL(every=2),
        RigL(every="epoch", fraction=1.0),
        DSR(every=2, threshold=0.1),
        SparseMomentum(every=2),
    ],
    ids=repr,
)
def test_trainings_agree_for_every_rewiring(rewiring: AnyRewiring) -> None:
    assert_same_training(of("vgg", "masked", rewiring=rewiring), of("vgg", "compressed", rewiring=rewiring))


def test_a_layer_may_change_its_storage_and_trains_on_with_the_same_weights() -> None:
    kept, changed = of("mlp", "masked"), of("mlp", "masked")
    for layer in changed.layers.values():
        parameter = layer.parameter
        layer.store_as("compressed")
        assert layer.storage == "compressed"
        assert layer.parameter is parameter
        assert parameter.shape == (layer.connections.nnz,)
    assert_same_training(kept, changed)


def test_a_layer_left_open_is_stored_anew_when_its_density_changes_and_state_follows() -> None:
    layer = SparseLinear(400, 400, density=1.0, generator=generator(0))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    assert layer.storage == "masked"
    layer(torch.randn(8, 400, generator=generator(1))).square().sum().backward()
    optimizer.step()
    momentum = optimizer.state[layer.parameter]["momentum_buffer"]
    weights, connections = layer.to_dense(), random_connections((400, 400), 500, generator(2))
    none = torch.empty(0, dtype=torch.int64)
    optimizers.rewire([layer], [Rewired(connections, none, torch.empty(0))], optimizer)
    assert layer.storage == "compressed"
    kept = connections.positions
    assert torch.equal(layer.values, weights.flatten()[kept])
    assert torch.equal(optimizer.state[layer.parameter]["momentum_buffer"], momentum.flatten()[kept])
    layer(torch.randn(8, 400, generator=generator(1))).square().sum().backward()
    optimizer.step()
    grown = torch.arange(160_000)[~connections.mask().flatten()]
    optimizers.rewire([layer], [Rewired(Connections.full((400, 400)), grown, torch.zeros(159_500))], optimizer)
    assert layer.storage == "masked"
    state = optimizer.state[layer.parameter]["momentum_buffer"]
    assert state.shape == (400, 400)
    assert int(state.count_nonzero()) <= 500


@pytest.mark.parametrize("name", NETWORKS)
def test_a_resumed_training_keeps_the_storages_it_had(name: str, tmp_path: Path) -> None:
    run, whole = (of(name, "compressed", dtype=torch.float32) for _ in range(2))
    run.plan = replace(run.plan, training=replace(run.plan.training, storage="auto"))
    list(islice(run.train(), 1))
    checkpoint.save(run, tmp_path / "run")
    resumed = checkpoint.load(tmp_path / "run", run.split)
    assert {layer.storage for layer in resumed.layers.values()} == {"compressed"}
    list(whole.train())
    list(resumed.train())
    for ours, theirs in zip(whole.layers.values(), resumed.layers.values(), strict=True):
        assert torch.equal(ours.to_dense(), theirs.to_dense())


@STORAGES
def test_a_module_of_sparse_layers_is_saved_and_loaded_across_storages(storage: StorageKind) -> None:
    masked, compressed = twins(SparseLinear, 9, 6, count=20, seed=1)
    saved, other = (masked, compressed) if storage == "masked" else (compressed, masked)
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    other.assign(torch.zeros(7), random_connections((6, 9), 7, generator(5)))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.to_dense(), saved.to_dense())
