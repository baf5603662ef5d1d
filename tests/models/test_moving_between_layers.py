"""Rewirings that move connections between layers: DSR and sparse momentum. The total is exact, shares are free."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problem import begin

from models.connections import random_connections
from models.dense_gradient import watching
from models.layers import SparseLayer, SparseLinear
from models.optimizers import Adam
from models.recipe import Training
from models.rewiring import DSR, Moment, SparseMomentum
from models.rewiring.drop import ConstantDrop
from models.rewiring.dsr import Threshold
from models.rewiring.momentum import Smoothed
from models.rewiring.shares import shared_out
from models.seeds import generator

MIDWAY = Moment(step=100, steps=400, epoch=1, epochs=2, ends_epoch=True)


def layer_with(values: list[float], total: int) -> SparseLinear:
    layer = SparseLinear(total, 1, connections=random_connections((1, total), len(values), generator(2)))
    layer.assign(torch.tensor(values))
    return layer


def test_what_is_shared_out_follows_the_weights_and_never_passes_the_room() -> None:
    assert shared_out(10, [3.0, 1.0, 1.0], [9, 9, 9]) == (6, 2, 2)
    assert shared_out(10, [3.0, 1.0, 1.0], [4, 9, 9]) == (4, 3, 3)
    assert shared_out(10, [8.0, 1.0, 3.0], [2, 9, 9]) == (2, 2, 6)
    assert shared_out(3, [1.0, 1.0], [9, 9]) == (2, 1)
    assert shared_out(5, [1.0, 0.0, 0.0], [2, 2, 2]) == (2, 2, 1)
    assert shared_out(0, [], []) == ()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), min_size=1, max_size=5), st.data())
def test_whatever_is_shared_out_is_shared_out_whole(layers: list[tuple[int, int]], data: st.DataObject) -> None:
    weights, room = zip(*layers, strict=True)
    total = data.draw(st.integers(0, sum(room)))
    counts = shared_out(total, weights, room)
    assert sum(counts) == total
    assert all(0 <= count <= limit for count, limit in zip(counts, room, strict=True))


def test_dsr_prunes_below_its_threshold_in_all_layers_and_grows_by_what_is_left() -> None:
    layers: list[SparseLayer] = [
        layer_with([0.1, -0.2, 1.0, -2.0, 3.0, 4.0, -0.3], total=60),  # 4 left
        layer_with([0.5, 0.2, -0.1], total=60),  # 2 left: .5 is above .4, and .2 and -.1 are not
        layer_with([0.5, -0.6, -0.7], total=60),
    ]
    rewiring = DSR(threshold=0.4)
    state, rewired = rewiring(rewiring.start(layers), layers, MIDWAY, generator(0))
    # 5 pruned of 13; left are 4, 1 and 3: 2.5, .625 and 1.875 more.
    assert [after.survivors.numel() for after in rewired if after] == [4, 1, 3]
    assert [after.grown.numel() for after in rewired if after] == [2, 1, 2]
    for layer, after in zip(layers, rewired, strict=True):
        assert after is not None
        assert not torch.isin(after.grown, layer.connections.positions).any()  # nor what has just been pruned
        assert not after.values.any()
    assert state.height == 0.2  # 5 are more than 1.1 * .1 * 13


@pytest.mark.parametrize(
    ("fraction", "factor"), [(0.1, 0.5), (0.35, 0.5), (0.37, 1), (0.4, 1), (0.43, 1), (0.45, 2), (1.0, 2)]
)
def test_the_threshold_of_dsr_doubles_or_halves_outside_a_tenth_of_its_aim(fraction: float, factor: float) -> None:
    layer = layer_with([*(0.1,) * 40, *(1.0,) * 60], total=400)
    rewiring = DSR(fraction=fraction, threshold=0.5)
    state, [after] = rewiring(rewiring.start([layer]), [layer], MIDWAY, generator(0))
    assert after is not None
    assert after.grown.numel() == 40
    assert state.height == 0.5 * factor


def test_dsr_loses_no_layer_and_grows_the_just_pruned_only_where_no_others_are_left() -> None:
    layers: list[SparseLayer] = [layer_with([0.1, 0.2, 0.3], total=4), layer_with([0.1, -0.2], total=4)]
    rewiring = DSR(threshold=10.0)
    _, rewired = rewiring(rewiring.start(layers), layers, MIDWAY, generator(0))
    largest = [layer.connections.positions[place].tolist() for layer, place in zip(layers, (2, 1), strict=True)]
    assert [after.survivors.tolist() for after in rewired if after] == [[place] for place in largest]
    # 3 grow in all, as both have one left: 2 in the first, of which only one position was absent before.
    assert [after.grown.numel() for after in rewired if after] == [2, 1]
    first = rewired[0]
    assert first is not None
    assert int(torch.isin(first.grown, layers[0].connections.positions).sum()) == 1


def test_a_layer_that_is_full_at_the_start_is_left_alone_and_one_that_becomes_full_is_not() -> None:
    full, sparse = layer_with([0.1] * 4, total=4), layer_with([0.1, 5.0], total=4)
    rewiring = DSR(threshold=1.0)
    state, [one, other] = rewiring(rewiring.start([full, sparse]), [full, sparse], MIDWAY, generator(0))
    assert one is None
    assert other is not None
    sparse.assign(torch.tensor([0.1, 0.1, 0.1, 5.0]), random_connections((1, 4), 4))
    _, [one, other] = rewiring(state, [full, sparse], MIDWAY, generator(0))
    assert one is None
    assert other is not None


def test_momentum_is_the_average_of_dense_gradients() -> None:
    layer = SparseLinear(6, 4, density=0.5, generator=generator(0))
    full = SparseLinear(6, 4, generator=generator(0))
    rewiring, expected = SparseMomentum(smoothing=0.8), torch.zeros(4, 6)
    state = rewiring.start([layer, full])
    for seed in range(3):
        with watching([layer, full]) as gradients:
            x = torch.randn(5, 6, generator=generator(seed))
            (layer(x).square().sum() + full(x).sum()).backward()
        state = rewiring.observe(state, replace(MIDWAY, gradients=gradients))
        expected = 0.8 * expected + 0.2 * gradients[0].whole()
    torch.testing.assert_close(state.gradients[0], expected)
    assert state.gradients[1].numel() == 0


def test_momentum_moves_connections_to_the_layers_and_positions_where_it_is_largest() -> None:
    layers: list[SparseLayer] = [layer_with([1.0, 2.0, 3.0, 4.0], total=20), layer_with([4.0, 3.0, 2.0, 1.0], total=20)]
    averages = [torch.arange(20.0).sub(9.5).view(1, 20), torch.zeros(1, 20)]
    for layer, average, strength in zip(layers, averages, (3.0, 1.0), strict=True):
        average[0, layer.connections.positions] = -strength
    rewiring = SparseMomentum(fraction=0.5, drop=ConstantDrop())
    _, [one, other] = rewiring(Smoothed(tuple(averages)), layers, MIDWAY, generator(0))
    assert one is not None
    assert other is not None
    # 4 are dropped in all, and shared out as 3 to 1.
    assert torch.equal(one.survivors, layers[0].connections.positions[2:])
    assert torch.equal(other.survivors, layers[1].connections.positions[:2])
    scores = averages[0].flatten().abs()
    scores[one.survivors] = -math.inf
    assert torch.equal(one.grown, scores.topk(3).indices.sort().values)
    # There, only what has just been dropped has any momentum: that grows again, and is new.
    assert other.grown.tolist() == [int(layers[1].connections.positions[2])]
    assert not one.values.any()


def test_without_any_momentum_each_layer_grows_what_it_lost() -> None:
    layers: list[SparseLayer] = [layer_with([1.0] * 8, total=20), layer_with([1.0] * 4, total=20)]
    rewiring = SparseMomentum(fraction=0.5, drop=ConstantDrop())
    _, rewired = rewiring(rewiring.start(layers), layers, MIDWAY, generator(0))
    assert [after.grown.numel() for after in rewired if after] == [4, 2]


def test_a_layer_that_momentum_has_emptied_stays_empty() -> None:
    layers: list[SparseLayer] = [layer_with([1.0] * 4, total=20), layer_with([], total=20)]
    averages = (torch.ones(1, 20), torch.ones(1, 20))
    _, [one, other] = SparseMomentum(fraction=1.0, drop=ConstantDrop())(
        Smoothed(averages), layers, MIDWAY, generator(0)
    )
    assert one is not None
    assert one.grown.numel() == 4
    assert other is None


def test_momentum_looks_on_until_its_last_rewiring_alone() -> None:
    rewiring = SparseMomentum(until=0.5, every=10)
    moments = [Moment(step, 40, 1, 1, ends_epoch=step == 40) for step in range(1, 41)]
    assert [moment.step for moment in moments if rewiring.observes(moment)] == list(range(1, 20))
    assert [moment.step for moment in moments if rewiring.due(moment)] == [10]
    assert not any(SparseMomentum(fraction=0.0).observes(moment) for moment in moments)


@pytest.mark.parametrize("storage", ["masked", "compressed", "auto"])
@pytest.mark.parametrize(
    "rewiring", [DSR(every=3, threshold=0.05, fraction=0.3), SparseMomentum(every=3, fraction=0.5)], ids=repr
)
def test_a_training_keeps_its_total_while_connections_move_between_layers(
    rewiring: DSR | SparseMomentum, storage: str
) -> None:
    training = Training(epochs=4, batch_size=16, optimizer=Adam(lr=0.02))
    run = begin(rewiring=rewiring, density=0.3, training=training, storage=storage)  # type: ignore[arg-type]
    reports = list(run.train())
    assert {sum(report.nnz) for report in reports} == {sum(run.plan.counts)}
    assert len({report.nnz for report in reports}) > 1
    assert all(report.churn > 0 for report in reports[:-1])


def test_the_threshold_is_remembered() -> None:
    run = begin(rewiring=DSR(every=3))
    *_, _ = run.train()
    assert run.rewiring_state == Threshold(0.001 * 2**7, (True, True, True))  # at 3, 6, ... 21 of 24: .95 ends at 22.8


@pytest.mark.parametrize("kind", [DSR, SparseMomentum])
def test_every_must_be_a_positive_number_of_steps(kind: type[DSR] | type[SparseMomentum]) -> None:
    with pytest.raises(ValueError, match=rf"{kind.__name__}.every: 0 is not allowed"):
        kind(every=0)
