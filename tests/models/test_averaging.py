"""SNT-ASGD: each connection's average is over the steps since it last grew, and moves with it."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problem import begin, classes_in_space, measured, same_state
from torch import Tensor

from models import checkpoint, optimizers
from models.averaging import AVERAGE, SNTASGD, STEPS, average, averaged
from models.cohorts import Cohort
from models.connections import Connections
from models.layers import SparseLinear
from models.networks import GRU, LSTM, MLP, VGG, AnyNetwork
from models.optimizers import SGD, Adam
from models.recipe import Training
from models.rewired import Rewired
from models.rewiring import SET, RigL
from models.types import Storage, members

storages = pytest.mark.parametrize("storage", ["masked", "compressed"])
AVERAGED = Training(epochs=4, batch_size=16, optimizer=SGD(lr=0.1), averaging=SNTASGD(start=0.5))
NONE = torch.empty(0, dtype=torch.int64)


class Watched:
    """A layer of two weights, of which the second comes and goes."""

    def __init__(self, storage: Storage) -> None:
        self.layer = SparseLinear(2, 1, bias=False, storage=storage)
        self.optimizer = optimizers.build(SGD(momentum=0.0), self.layer)

    def step(self, weight: float | None) -> None:
        """An optimizer step that leaves this weight; None: the connection is absent."""
        there = self.layer.connections.nnz == 2
        if weight is None and there:
            self._rewire(Rewired(Connections((1, 2), torch.tensor([0])), NONE, torch.empty(0)))
        if weight is not None and not there:
            self._rewire(Rewired(Connections.full((1, 2)), torch.tensor([1]), torch.zeros(1)))
        self.layer.assign(torch.tensor([1.0] if weight is None else [1.0, weight]))
        average(self.optimizer)

    def averages(self) -> list[float]:
        with averaged(self.optimizer):
            return self.layer.to_dense().flatten().tolist()

    def _rewire(self, rewired: Rewired) -> None:
        optimizers.rewire([self.layer], [rewired], self.optimizer)


@storages
@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 4.0),
        ([1.0, 2.0, None, 4.0, 5.0, 6.0], 5.5),
        ([1.0, 2.0, 3.0, 4.0, 5.0, None], 0.0),
        ([7.0], 7.0),
        ([1.0, 2.0, None, 4.0], 4.0),
    ],
    ids=["always there", "pruned and regrown", "pruned at the end", "one step", "just regrown"],
)
def test_published_vectors(weights: list[float | None], expected: float, storage: Storage) -> None:
    watched = Watched(storage)
    for weight in weights:
        watched.step(weight)
    assert watched.averages() == [1.0, expected]


@storages
def test_a_connection_grown_a_moment_ago_has_its_weight_for_an_average(storage: Storage) -> None:
    watched = Watched(storage)
    for weight in (1.0, 2.0, None):
        watched.step(weight)
    watched._rewire(Rewired(Connections.full((1, 2)), torch.tensor([1]), torch.tensor([0.25])))
    assert watched.averages() == [1.0, 0.25]


@storages
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 12))
def test_a_weight_that_stays_is_averaged_as_torchs_asgd_does(storage: Storage, seed: int, steps: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    layer = SparseLinear(4, 3, storage=storage, generator=draw).double()
    twin = torch.nn.Parameter(layer.to_dense())
    theirs = torch.optim.ASGD([twin], lr=0.1, lambd=0.0, t0=0.0)
    ours = optimizers.build(SGD(lr=0.1, momentum=0.0), layer)
    for _ in range(steps):
        gradient = torch.randn(3, 4, generator=draw, dtype=torch.float64)
        twin.grad = gradient.clone()
        layer.parameter.grad = gradient.view_as(layer.parameter)
        ours.step()
        average(ours)
        theirs.step()
    torch.testing.assert_close(ours.state[layer.parameter][AVERAGE].view(3, 4), theirs.state[twin]["ax"])


def test_the_trigger_is_the_published_one() -> None:
    losses = [5, 4, 3, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6]
    begun = [SNTASGD().begun(losses[:epoch], 20) for epoch in range(1, 10)]
    assert begun == [False] * 8 + [True]


def test_what_has_begun_does_not_end() -> None:
    assert SNTASGD(patience=1).begun([3, 2, 4, 1, 0.5, 0.1], 20)


@pytest.mark.parametrize(("start", "first"), [(0.0, 1), (0.3, 4), (0.35, 5), (0.9, 10)])
def test_a_start_is_an_epoch(start: float, first: int) -> None:
    begun = [SNTASGD(start=start).begun([None] * done, 10) for done in range(10)]
    assert begun.index(True) + 1 == first


def test_a_start_outside_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"SNTASGD.start: 1.0 is not allowed; it must be < 1"):
        SNTASGD(start=1.0)


def test_a_training_without_evaluations_has_no_trigger() -> None:
    with pytest.raises(ValueError, match=r"averaging.start: null is not allowed"):
        begin(training=replace(AVERAGED, averaging=SNTASGD()), evaluate="end")
    begin(training=AVERAGED, evaluate="end")


NETWORKS: dict[str, tuple[AnyNetwork, tuple[int, ...]]] = {
    "mlp": (MLP(widths=(16, 10), dropout=0.2), (12,)),
    "vgg": (VGG(channels=(4, "pool", 6), widths=(8,)), (2, 8, 8)),
    "lstm": (LSTM(units=(6,)), (12,)),
    "gru": (GRU(units=(6,)), (12,)),
}


def weights_of(run: Any) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in run.network.parameters()]


@storages
@pytest.mark.parametrize("case", NETWORKS)
def test_evaluation_is_of_the_averages_and_leaves_the_weights_bit_for_bit(case: str, storage: Storage) -> None:
    network, shape = NETWORKS[case]
    run = begin(network, classes_in_space(shape), training=AVERAGED, rewiring=SET(every=5), storage=storage)
    list(run.train())
    assert [report.averaged for report in run.reports] == [False, False, True, True]
    before = weights_of(run)
    with averaged(run.optimizer):
        means = weights_of(run)
        for layer in run.layers.values():
            assert not layer.to_dense()[~layer.connections.mask()].any()
    assert run.evaluate().loss == run.reports[-1].loss
    after = weights_of(run)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(before, means, strict=True))


@storages
def test_weights_learn_as_without_averages(storage: Storage) -> None:
    plain = replace(AVERAGED, averaging=None)
    runs = [
        begin(LSTM(units=(6,)), training=each, rewiring=SET(every=5), storage=storage) for each in (AVERAGED, plain)
    ]
    for run in runs:
        list(run.train())
    assert all(torch.equal(*pair) for pair in zip(*map(weights_of, runs), strict=True))
    assert [a.train_loss for a in runs[0].reports] == [b.train_loss for b in runs[1].reports]
    assert runs[0].reports[1].loss == runs[1].reports[1].loss
    assert runs[0].reports[-1].loss != runs[1].reports[-1].loss


def test_both_storages_average_alike() -> None:
    runs = [begin(training=AVERAGED, rewiring=SET(every=5), storage=storage) for storage in ("masked", "compressed")]
    for run in runs:
        list(run.train())
    losses = [[report.loss for report in run.reports] for run in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("optimizer", [member() for member in members(optimizers.AnyOptimizer)], ids=repr)
def test_averages_follow_their_connections_beside_any_optimizers_state(optimizer: Any) -> None:
    run = begin(training=replace(AVERAGED, optimizer=optimizer, averaging=SNTASGD(start=0.0)), rewiring=SET(every=7))
    list(islice(run.train(), 2))
    for layer in run.layers.values():
        state = run.optimizer.state[layer.parameter]
        steps = layer.gather(state[STEPS])
        assert steps.max() == 12  # two epochs of 6 steps
        assert steps.min() == 5  # rewired after step 7
        fresh = layer.gather(state[STEPS]) == 5
        assert layer.gather(state[AVERAGE]).isfinite().all()
        assert fresh.any()


@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.0), Adam(lr=0.01)], ids=repr)
def test_a_resumed_run_goes_on_bit_for_bit(optimizer: Any, done: int, tmp_path: Path) -> None:
    training = replace(AVERAGED, optimizer=optimizer)
    whole, half = (begin(LSTM(units=(6,)), training=training, rewiring=SET(every=4)) for _ in range(2))
    list(whole.train())
    list(islice(half.train(), done))
    checkpoint.save(half, tmp_path / "half")
    other = checkpoint.load(tmp_path / "half", half.split)
    list(other.train())
    assert measured(whole) == measured(other)
    for name, run in (("whole", whole), ("other", other)):
        checkpoint.save(run, tmp_path / name)  # so that both show the same at absent connections
    assert same_state(*(checkpoint.load(tmp_path / name, half.split) for name in ("whole", "other")))


def test_the_trigger_survives_a_checkpoint(tmp_path: Path) -> None:
    rising = replace(AVERAGED, epochs=6, optimizer=SGD(lr=0.8), averaging=SNTASGD(patience=1))
    whole, half = (begin(training=rising) for _ in range(2))
    list(whole.train())
    list(islice(half.train(), 4))
    assert any(report.averaged for report in whole.reports), "the loss was to rise"
    checkpoint.save(half, tmp_path / "half")
    other = checkpoint.load(tmp_path / "half", half.split)
    list(other.train())
    assert [each.averaged for each in whole.reports] == [each.averaged for each in other.reports]
    assert measured(whole) == measured(other)


def test_a_step_that_a_rewiring_takes_is_not_averaged() -> None:
    training = replace(AVERAGED, averaging=SNTASGD(start=0.0))
    run = begin(training=training, rewiring=RigL(every=5))
    next(run.train())
    bias = next(iter(run.layers.values())).bias
    assert run.optimizer.state[bias][STEPS].unique().tolist() == [5]  # 6 steps, one of them RigL's


def test_a_cohort_averages_as_each_alone() -> None:
    split = classes_in_space()
    training = replace(AVERAGED, averaging=SNTASGD(start=0.25))
    together = [begin(split=split, training=training, seed=seed, storage="masked") for seed in (1, 2)]
    alone = [begin(split=split, training=training, seed=seed, storage="masked") for seed in (1, 2)]
    for _ in Cohort(together).train():
        pass
    for ours, theirs in zip(together, alone, strict=True):
        list(theirs.train())
        assert [a.loss for a in ours.reports] == pytest.approx([b.loss for b in theirs.reports], rel=1e-4)
        assert ours.reports[-1].averaged
