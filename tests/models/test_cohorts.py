"""Runs in lockstep become what they become alone: a cohort changes what a training costs, nothing it learns."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from small_problem import IMAGE, classes_in_space

from models import optimizers, training
from models.cohorts import Cohort
from models.data.samples import Samples, Split
from models.networks import MLP, VGG, AnyNetwork, LeNet5
from models.optimizers import SGD, AnyOptimizer
from models.recipe import Augmentation, Training
from models.rewiring import SET, Gradual, NeuronSET, OneShot, RigL, Static
from models.topologies import Random
from models.training import Diverged, EpochReport, Run

DENSITIES = (0.2, 0.5, 1.0)


def data(shape: tuple[int, ...]) -> Split:
    split = classes_in_space(shape, train=50)
    return Split(*(Samples(part.x.double(), part.y) for part in (split.train, split.held_out)), split.classes, shape)


def runs(
    split: Split,
    network: AnyNetwork,
    optimizer: AnyOptimizer | None = None,
    rewiring: Any = None,
    **recipe: Any,
) -> list[Run]:
    """One for each density, in double precision, where rounding decides no rewiring."""
    setting = Training(**{"epochs": 3, "batch_size": 16, "optimizer": optimizer or SGD(lr=0.1)} | recipe)
    made = []
    for seed, density in enumerate(DENSITIES):
        shapes = network.layers(split.input_shape, split.classes)
        counts = [max(1, round(density * shape.total)) for shape in shapes]
        rewired = rewiring or SET(grown="normal")
        run = training.start(network, counts, Random(), rewired, setting, split, seed, storage="masked")
        run.network.double()
        run.optimizer = optimizers.build(setting.optimizer, run.network)
        made.append(run)
    return made


def assert_each_as_if_alone(split: Split, network: AnyNetwork, **settings: Any) -> None:
    together, alone = runs(split, network, **settings), runs(split, network, **settings)
    for ended in Cohort(together).train():
        assert list(ended) == together
    for ours, theirs in zip(together, alone, strict=True):
        for _ in theirs.train():
            pass
        assert_same(ours, theirs)


def assert_same(ours: Run, theirs: Run) -> None:
    assert len(ours.reports) == len(theirs.reports)
    for mine, other in zip(ours.reports, theirs.reports, strict=True):
        for field in ("train_loss", "loss", "accuracy", "churn", "egf_1", "egf_2", "lr"):
            assert getattr(mine, field) == pytest.approx(getattr(other, field), rel=1e-6), field
    assert [layer.connections.hash() for layer in ours.layers.values()] == [
        layer.connections.hash() for layer in theirs.layers.values()
    ]
    state = theirs.network.state_dict()
    for name, tensor in ours.network.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-6, atol=1e-8)
    memories = [each.optimizer.state_dict()["state"] for each in (ours, theirs)]
    assert memories[0].keys() == memories[1].keys()
    for number, memory in memories[1].items():
        for name, value in memory.items():
            torch.testing.assert_close(memories[0][number][name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(widths=(16, 10)), (12,)),
        (MLP(widths=(16, 10), batch_norm=True, dropout=0.3), (12,)),
        (MLP(widths=(9,), activation="srelu"), (12,)),
        (MLP(widths=(9,), activation="prelu"), IMAGE),
        (LeNet5(), (1, 28, 28)),
        (VGG(channels=(4, "pool", 6), widths=(8,), batch_norm=True), (3, 8, 8)),
    ],
    ids=repr,
)
def test_every_network_learns_as_if_alone(network: AnyNetwork, shape: tuple[int, ...]) -> None:
    assert_each_as_if_alone(data(shape), network, epochs=2)


@pytest.mark.parametrize("kind", optimizers._CLASSES)
def test_every_optimizer_keeps_each_runs_state(kind: type) -> None:
    assert_each_as_if_alone(data((12,)), MLP(widths=(10,)), optimizer=kind(lr=0.01))


@pytest.mark.parametrize(
    "rewiring",
    [
        Static(),
        SET(every=2),
        SET(last_epoch="prune_only"),
        RigL(every=5),
        OneShot(),
        Gradual(every=5),
        NeuronSET(begin=0.0),
    ],
    ids=repr,
)
def test_each_run_is_rewired_by_itself(rewiring: Any) -> None:
    assert_each_as_if_alone(data((12,)), MLP(widths=(16, 10)), rewiring=rewiring)


def test_each_run_is_augmented_by_its_own_stream() -> None:
    network = VGG(channels=(4,), widths=(8,))
    assert_each_as_if_alone(data((1, 8, 8)), network, augmentation=Augmentation(shift=1, flip=True))


def test_the_squared_error_is_each_runs_own() -> None:
    assert_each_as_if_alone(data((12,)), MLP(widths=(10,)), loss="mse")


def test_a_run_that_leaves_changes_nothing_for_the_others() -> None:
    split, network = data((12,)), MLP(widths=(16, 10), dropout=0.2)
    together, alone = runs(split, network), runs(split, network)
    cohort = Cohort(together)
    for number, _ in enumerate(cohort.train()):
        if number == 0:
            cohort.leave(together[1])
    for run in (alone[0], alone[2]):
        for _ in run.train():
            pass
    assert_same(together[0], alone[0])
    assert_same(together[2], alone[2])
    assert together[1].epoch == 1


def test_a_run_that_diverges_ends_alone() -> None:
    split, network = data((12,)), MLP(widths=(16, 10))
    together, alone = runs(split, network), runs(split, network)
    with torch.no_grad():
        next(iter(together[1].network.parameters())).fill_(torch.nan)
    ended: list[Mapping[Run, EpochReport | Exception]] = list(Cohort(together).train())
    assert isinstance(ended[0][together[1]], Diverged)
    assert all(together[1] not in each for each in ended[1:])
    for _ in alone[0].train():
        pass
    assert_same(together[0], alone[0])


def test_networks_that_cannot_be_stacked_take_their_own_steps() -> None:
    split, network = data((12,)), MLP(widths=(16, 10))
    together, alone = runs(split, network), runs(split, network)
    for run in (*together, *alone):
        for layer in run.layers.values():
            layer.store_as("compressed")
    for _ in Cohort(together).train():
        pass
    for ours, theirs in zip(together, alone, strict=True):
        for _ in theirs.train():
            pass
        assert_same(ours, theirs)


def test_other_plans_do_not_go_together() -> None:
    split = data((12,))
    some, others = runs(split, MLP(widths=(10,))), runs(split, MLP(widths=(11,)))
    with pytest.raises(ValueError, match="plans differ"):
        Cohort([some[0], others[1]])
    with pytest.raises(ValueError, match="one at least"):
        Cohort([])
    with pytest.raises(ValueError, match="one split"):
        Cohort([some[0], runs(data((12,)), MLP(widths=(10,)))[1]])
