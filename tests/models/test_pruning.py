"""From dense to sparse: exact counts, the largest weights, and what is gone stays gone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_problem import IMAGE, begin, classes_in_space, measured, same_state

from models import checkpoint, crossover, optimizers
from models.connections import Connections
from models.data.samples import Samples, Split
from models.layers import SparseLayer, SparseLinear
from models.networks import MLP, VGG
from models.recipe import Augmentation, Training
from models.rewiring import AnyRewiring, Gradual, Iterative, Moment, OneShot, Pruning, Rewired
from models.rewiring.gradual import sparsity
from models.seeds import generator
from models.training import ConnectionLeak, Run
from models.types import StorageKind, members

LAYERWISE: list[Any] = [
    *(member() for member in members(AnyRewiring) if issubclass(member, Pruning)),
    OneShot(at=1.0),
    Gradual(begin=0.3, end=0.9, every=4),
    Gradual(end=1.0, every=1),
    Iterative(quality=2.0, rounds=2),
    Iterative(quality=0.0, rounds=1, end=0.1),
]
GLOBAL: list[Any] = [OneShot(scope="global"), Gradual(every=5, scope="global")]
prunings = pytest.mark.parametrize("pruning", [*LAYERWISE, *GLOBAL], ids=repr)
NETWORKS = {
    "mlp": (MLP(widths=(16, 10), batch_norm=True), (12,)),
    "vgg": (VGG(channels=(4, "pool"), widths=(8,)), IMAGE),
}
STEPS = 40


def of(name: str, pruning: Any, **options: Any) -> Run:
    network, shape = NETWORKS[name]
    return begin(network, classes_in_space(shape), rewiring=pruning, density=0.2, **options)


def moment(step: int, counts: Sequence[int], steps: int = STEPS) -> Moment:
    return Moment(step, steps, (step - 1) // 10 + 1, steps // 10, step % 10 == 0, tuple(counts))


def layer_with(values: Sequence[float]) -> SparseLinear:
    layer = SparseLinear(len(values), 1)
    layer.assign(torch.tensor(values))
    return layer


def decided(pruning: Pruning, layers: Sequence[SparseLayer], counts: Sequence[int], step: int) -> list[Rewired | None]:
    return pruning(pruning.start(layers), layers, moment(step, counts), generator(0))[1]


def stays(pruning: Pruning, values: Sequence[float], count: int, step: int = STEPS // 2) -> list[int]:
    [after] = decided(pruning, [layer_with(values)], [count], step)
    return list(range(len(values))) if after is None else after.connections.positions.tolist()


@pytest.mark.parametrize("name", NETWORKS)
@prunings
def test_a_training_starts_dense_and_ends_with_exactly_what_was_asked(name: str, pruning: Any) -> None:
    run = of(name, pruning)
    assert all(layer.connections.nnz == layer.connections.total for layer in run.layers.values())
    reports = list(run.train())
    asked, ended = run.plan.counts, tuple(layer.count_active() for layer in run.layers.values())
    assert reports[-1].nnz == ended
    assert sum(ended) == sum(asked)
    assert ended == asked or pruning in GLOBAL
    for before, after in pairwise(reports):
        assert all(one >= other for one, other in zip(before.nnz, after.nnz, strict=True))
    assert {report.churn for report in reports} == {0.0}


@prunings
def test_a_connection_that_is_gone_never_comes_back_and_survivors_keep_their_weights(pruning: Any) -> None:
    run = of("mlp", pruning)
    seen: list[list[Connections]] = [[layer.connections for layer in run.layers.values()]]
    rewire = optimizers.rewire

    def watched(layers: Sequence[SparseLayer], rewired: Sequence[Rewired | None], optimizer: Any) -> None:
        dense = [layer.to_dense() for layer in layers]
        rewire(layers, rewired, optimizer)
        for layer, before in zip(layers, dense, strict=True):
            assert torch.equal(layer.to_dense(), before * layer.connections.mask())
        seen.append([layer.connections for layer in layers])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.optimizers.rewire", watched)
        list(run.train())
    assert len(seen) > 1
    for earlier, later in pairwise(seen):
        assert not any((~one.mask() & two.mask()).any() for one, two in zip(earlier, later, strict=True))


@prunings
def test_a_run_resumed_in_the_middle_of_its_pruning_ends_as_if_never_stopped(pruning: Any, tmp_path: Path) -> None:
    whole, half = of("mlp", pruning), of("mlp", pruning)
    list(whole.train())
    list(islice(half.train(), 2))
    checkpoint.save(half, tmp_path / "half")
    resumed = checkpoint.load(tmp_path / "half", half.split)
    assert resumed.rewiring_state == half.rewiring_state
    list(resumed.train())
    assert measured(whole) == measured(resumed)
    checkpoint.save(whole, tmp_path / "whole")  # so that both show the same at absent connections
    checkpoint.save(resumed, tmp_path / "resumed")
    assert same_state(*(checkpoint.load(tmp_path / name, half.split) for name in ("whole", "resumed")))


@pytest.mark.parametrize("name", NETWORKS)
@prunings
def test_both_storages_prune_the_same_connections(name: str, pruning: Any) -> None:
    def trained(storage: StorageKind) -> Run:
        network, shape = NETWORKS[name]
        split = classes_in_space(shape, train=50)
        parts = [Samples(part.x.double(), part.y) for part in (split.train, split.held_out)]
        split = Split(*parts, split.classes, shape)
        training = Training(epochs=3, batch_size=16, optimizer=optimizers.SGD(lr=0.05, weight_decay=0.01))
        run = begin(network, split, 0.2, pruning, training=training, storage=storage)
        run.network.double()
        list(run.train())
        return run

    masked, compressed = trained("masked"), trained("compressed")
    for ours, theirs in zip(masked.layers.values(), compressed.layers.values(), strict=True):
        assert (ours.storage, theirs.storage) == ("masked", "compressed")
        assert ours.connections.hash() == theirs.connections.hash()
        torch.testing.assert_close(theirs.to_dense(), ours.to_dense(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (2000, 0.0), (9000, 0.5203), (16000, 0.7875), (23000, 0.8859)])
def test_the_gradual_sparsity_is_the_published_cubic(step: int, share: float) -> None:
    assert sparsity(step, 2000, 30000, 0.0, 0.9) == pytest.approx(share, abs=5e-5)


def test_the_gradual_sparsity_is_exact_at_its_ends() -> None:
    assert sparsity(2000, 2000, 30000, 0.1, 0.9) == 0.1
    assert sparsity(30000, 2000, 30000, 0.1, 0.9) == sparsity(40000, 2000, 30000, 0.1, 0.9) == 0.9


@given(total=st.integers(1, 10**7), data=st.data())
def test_gradual_counts_fall_and_end_exactly(total: int, data: st.DataObject) -> None:
    asked = data.draw(st.integers(1, total))
    counts = [total - round(total * sparsity(step, 3, 17, 0.0, 1 - asked / total)) for step in range(20)]
    assert counts[:4] == [total] * 4
    assert counts[17:] == [asked] * 3
    assert counts == sorted(counts, reverse=True)


def test_gradual_pruning_refreshes_when_it_says_and_always_at_its_end() -> None:
    def due(pruning: Pruning) -> list[int]:
        return [step for step in range(1, STEPS + 1) if pruning.due(moment(step, []))]

    assert due(Gradual(begin=0.1, end=0.5, every=7)) == [4, 11, 18, 20]
    assert due(Gradual(begin=0.1, end=0.6)) == [10, 20, 24]
    assert due(Gradual(begin=0.0, end=1.0)) == [10, 20, 30, 40]
    assert due(OneShot(at=0.33)) == [14]
    assert due(OneShot(at=1.0)) == [40]
    assert due(Iterative(rounds=4, end=0.5)) == [5, 10, 15, 20]


def test_the_largest_magnitudes_stay_whatever_their_sign_and_ties_go_to_the_lower_position() -> None:
    values = [0.5, -3.0, 0.0, 0.5, 1.0, -0.5, 0.0, -0.0]
    assert stays(OneShot(), values, 1) == [1]
    assert stays(OneShot(), values, 3) == [0, 1, 4]
    assert stays(OneShot(), values, 4) == [0, 1, 3, 4]
    assert stays(OneShot(), values, 6) == [0, 1, 2, 3, 4, 5]  # exact among zeros, too
    assert stays(OneShot(), values, 8) == list(range(8))


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=40), st.data())
def test_counts_are_exact_however_many_weights_are_equal(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(values)))
    kept = stays(OneShot(), values, count)
    gone = set(range(len(values))) - set(kept)
    assert len(kept) == count
    assert all(abs(values[out]) <= abs(values[stay]) for out in gone for stay in kept)


def test_global_pruning_compares_all_layers_but_those_asked_in_full() -> None:
    layers = [layer_with([5.0, 0.1, -4.0, 0.2]), layer_with([0.01, 0.02]), layer_with([-3.0, 0.3, 1.0])]
    after = decided(OneShot(scope="global"), layers, [1, 2, 3], STEPS // 2)  # the third, too, is asked in full
    assert after[1:] == [None, None]
    one, full, other = decided(OneShot(scope="global"), layers, [2, 2, 1], STEPS // 2)
    assert one is not None
    assert other is not None
    assert full is None
    assert one.connections.positions.tolist() == [0, 2]
    assert other.connections.positions.tolist() == [0]
    assert decided(OneShot(scope="global"), layers, [4, 2, 3], STEPS // 2) == [None, None, None]


def test_iterative_pruning_removes_what_is_below_its_threshold_and_at_last_what_is_too_much() -> None:
    values = [-2.0, -1.0, -0.1, 0.1, 1.0, 2.0]  # their standard deviation is 1.29
    first, last = 6, STEPS * 3 // 4
    pruning = Iterative(quality=0.5, rounds=5)
    assert stays(pruning, values, 1, first) == [0, 1, 4, 5]
    assert stays(pruning, values, 5, first) == [0, 1, 2, 4, 5]  # never fewer than asked
    assert stays(pruning, values, 1, last) == [0]
    assert stays(pruning, values, 5, last) == [0, 1, 2, 4, 5]
    assert stays(replace(pruning, quality=1.0), values, 1, first) == [0, 5]


def test_a_pruning_that_does_not_reach_what_was_asked_fails_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = of("mlp", OneShot())
    monkeypatch.setattr(OneShot, "prune", lambda *arguments: [None] * 3)
    with pytest.raises(ConnectionLeak, match="layer fc1: 38 connections were asked, 192 were counted"):
        list(run.train())


def test_a_network_left_open_is_compressed_as_a_whole_once_that_is_faster_and_its_state_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crossover, "_in_use", replace(crossover.BUILT_IN, perceptron=((93_000, 0.5),)))
    split = classes_in_space((300,), classes=10, train=60)
    training = Training(epochs=3, batch_size=16, optimizer=optimizers.SGD(lr=0.05, momentum=0.9))
    dense, whole = (
        begin(MLP(widths=(300,)), split, 0.05, OneShot(at=0.5), training=training, storage=storage)
        for storage in ("masked", "auto")
    )
    assert {layer.storage for layer in whole.layers.values()} == {"masked"}
    for run in (dense, whole):
        list(run.train())
    assert {layer.storage for layer in whole.layers.values()} == {"compressed"}
    assert {layer.storage for layer in dense.layers.values()} == {"masked"}
    for ours, theirs in zip(dense.layers.values(), whole.layers.values(), strict=True):
        assert ours.connections.hash() == theirs.connections.hash()
        torch.testing.assert_close(theirs.to_dense(), ours.to_dense(), rtol=1e-3, atol=1e-5)
        momentum = [
            run.optimizer.state[layer.parameter]["momentum_buffer"] for run, layer in ((dense, ours), (whole, theirs))
        ]
        torch.testing.assert_close(theirs.gather(momentum[1]), ours.gather(momentum[0]), rtol=1e-3, atol=1e-5)


def test_augmented_images_are_pruned_too() -> None:
    training = Training(epochs=3, batch_size=16, augmentation=Augmentation(shift=1))
    run = of("vgg", Gradual(), training=training)
    assert list(run.train())[-1].nnz == run.plan.counts


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneShot(at=0.0), "OneShot.at: 0.0 is not allowed; it must be > 0"),
        (lambda: Gradual(begin=0.5, end=0.5), "Gradual.begin: 0.5 is not allowed; it must be less than end"),
        (lambda: Gradual(every=0), 'Gradual.every: 0 is not allowed; it must be "epoch" or >= 1'),
        (lambda: Iterative(quality=-1.0), "Iterative.quality: -1.0 is not allowed; it must be >= 0"),
        (lambda: Iterative(rounds=0), "Iterative.rounds: 0 is not allowed; it must be >= 1"),
    ],
    ids=["at", "begin", "every", "quality", "rounds"],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
