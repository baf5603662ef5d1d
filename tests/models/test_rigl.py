"""RigL to the letter, and how a training lets a rewiring see its gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from small_problem import begin
from torch.nn import functional

from models import dense_gradient
from models.connections import random_connections
from models.dense_gradient import DenseGradient, watching
from models.layers import SparseLayer, SparseLinear
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import Moment, Rewired, Rewiring, RigL
from models.rewiring.drop import ConstantDrop
from models.seeds import generator

MIDWAY = Moment(step=50, steps=200, epoch=1, epochs=2, ends_epoch=False)


def decided(rewiring: RigL, layer: SparseLinear, x: torch.Tensor, moment: Moment = MIDWAY) -> Rewired:
    with watching([layer]) as gradients:
        layer(x).sin().square().sum().backward()
    _, [after] = rewiring(None, [layer], replace(moment, gradients=gradients), generator(0))
    assert after is not None
    return after


def test_the_smallest_are_dropped_and_the_largest_gradients_grow_even_where_just_dropped() -> None:
    layer = SparseLinear(30, 20, density=0.2, generator=generator(0)).double()
    x = torch.randn(8, 30, dtype=torch.float64, generator=generator(1))
    after = decided(RigL(fraction=0.3, drop=ConstantDrop()), layer, x)
    order = layer.values.abs().argsort()
    count = 36
    assert torch.equal(after.survivors, layer.connections.positions[order[count:].sort().values])
    weight = layer.to_dense().requires_grad_()
    functional.linear(x, weight, layer.bias).sin().square().sum().backward()
    assert weight.grad is not None
    scores = weight.grad.flatten().abs()
    scores[after.survivors] = -math.inf
    assert torch.equal(after.grown, scores.topk(count).indices.sort().values)
    assert torch.isin(after.grown, layer.connections.positions).any()  # some of those just dropped
    assert not after.values.any()


def test_absent_weights_with_a_gradient_of_zero_grow_before_any_kept_one() -> None:
    layer = SparseLinear(50, 1, connections=random_connections((1, 50), 10, generator(2)))
    after = decided(RigL(fraction=0.5, drop=ConstantDrop()), layer, torch.zeros(4, 50))
    assert after.grown.numel() == 5
    assert after.grown.tolist() == [place for place in range(50) if place not in after.survivors.tolist()][:5]


def test_what_grows_moves_no_output() -> None:
    layer = SparseLinear(30, 20, density=0.2, generator=generator(0))
    x = torch.randn(8, 30, generator=generator(1))
    after = decided(RigL(), layer, x)
    dropped = layer.to_dense().flatten()
    dropped[torch.isin(torch.arange(600), after.survivors, invert=True)] = 0
    layer.rewire(after)
    torch.testing.assert_close(layer(x), functional.linear(x, dropped.view(20, 30), layer.bias), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("step", "dropped"), [(0, 30), (75, 25), (150, 15), (225, 4)])
def test_the_number_dropped_follows_the_cosine(step: int, dropped: int) -> None:
    layer = SparseLinear(50, 20, density=0.1, generator=generator(0))
    moment = Moment(step, 400, epoch=1, epochs=1, ends_epoch=False)
    assert decided(RigL(), layer, torch.randn(8, 50, generator=generator(1)), moment).grown.numel() == dropped


def test_nothing_is_rewired_at_the_end_of_its_share_or_later() -> None:
    rewiring = RigL(every=25, until=0.75)
    moments = [Moment(step, 200, 1, 1, ends_epoch=step == 200) for step in range(1, 201)]
    assert [moment.step for moment in moments if rewiring.due(moment)] == [25, 50, 75, 100, 125]
    assert not any(RigL(fraction=0.0, every=1).due(moment) for moment in moments)


def test_every_must_be_a_positive_number_of_steps() -> None:
    with pytest.raises(ValueError, match=r"RigL.every: 0 is not allowed"):
        RigL(every=0)


@pytest.mark.parametrize("storage", ["masked", "compressed"])
def test_a_rewiring_takes_the_place_of_the_optimizers_step(storage: Any) -> None:
    run = begin(rewiring=RigL(every=1), storage=storage)
    before = [layer.to_dense() for layer in run.layers.values()]
    biases = [layer.bias.clone() for layer in run.layers.values()]
    moment = Moment(1, 24, 1, 4, ends_epoch=False)
    _, seen = run._observe(torch.arange(16), 0.1, moment)
    run._rewire(seen)
    assert all(torch.equal(layer.bias, bias) for layer, bias in zip(run.layers.values(), biases, strict=True))
    for layer, dense in zip(run.layers.values(), before, strict=True):
        moved = (layer.to_dense() != dense).flatten().nonzero().flatten()
        assert len(moved) > 0
        assert not layer.to_dense().flatten()[moved].any()  # dropped, or grown at 0: no survivor has moved


def test_the_optimizer_takes_all_other_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(rewiring=RigL(every=6), storage="masked")
    taken = []
    step = run.optimizer.step
    monkeypatch.setattr(run.optimizer, "step", lambda: (taken.append(1), step())[1])
    reports = list(run.train())
    assert len(taken) == 24 - 2  # after 6 and 12 of 24, and not at 18 = .75 * 24
    assert [report.churn > 0 for report in reports] == [True, True, False, False]
    assert {report.nnz for report in reports} == {run.plan.counts}


@dataclass(frozen=True)
class Watching(Rewiring):
    """Rewires nothing, and notes the largest gradient it has seen at each step."""

    def due(self, moment: Moment) -> bool:
        return False

    def observes(self, moment: Moment) -> bool:
        return True

    def start(self, layers: Sequence[SparseLayer]) -> tuple[float, ...]:
        return ()

    def observe(self, state: Any, moment: Moment) -> tuple[float, ...]:
        return (*state, max(float(gradient.whole().abs().max()) for gradient in moment.watched))

    def __call__(self, *arguments: Any) -> Any:
        raise AssertionError("it is never due")


def test_looking_on_at_every_step_changes_no_training() -> None:
    training = Training(epochs=3, batch_size=16, optimizer=SGD(lr=0.1, weight_decay=0.01))
    runs = [begin(rewiring=each, training=training, storage="masked") for each in (Watching(), RigL(fraction=0.0))]
    for run in runs:
        list(run.train())
    assert len(runs[0].rewiring_state) == 18
    assert all(seen > 0 for seen in runs[0].rewiring_state)
    assert runs[0].reports[-1].train_loss == runs[1].reports[-1].train_loss
    assert all(
        torch.equal(one.to_dense(), other.to_dense())
        for one, other in zip(runs[0].layers.values(), runs[1].layers.values(), strict=True)
    )


@pytest.mark.parametrize("storage", ["masked", "compressed"])
def test_the_size_of_blocks_decides_nothing_and_no_dense_gradient_is_ever_whole(
    storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(gradient: DenseGradient) -> None:
        raise AssertionError("a dense gradient was read at once")

    monkeypatch.setattr(DenseGradient, "whole", whole)
    hashes = []
    for block in (2**22, 30, 1):
        monkeypatch.setattr(dense_gradient, "BLOCK", block)
        run = begin(rewiring=RigL(every=3), storage=storage)
        list(run.train())
        hashes.append([layer.connections.hash() for layer in run.layers.values()])
    assert hashes[0] == hashes[1] == hashes[2]
