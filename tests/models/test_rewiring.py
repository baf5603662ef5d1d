"""What every rewiring keeps, and SET to the letter."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.connections import Connections, random_connections
from models.dense_gradient import DenseGradient, watching
from models.layers import SparseConv2d, SparseLayer, SparseLinear
from models.rewiring import (
    DSR,
    SET,
    AnyRewiring,
    Moment,
    NeuronSET,
    Pruning,
    Rewired,
    Rewiring,
    RigL,
    SparseMomentum,
    Static,
)
from models.rewiring.drop import CosineDrop, LinearDrop
from models.rewiring.removal import removed_by_sign
from models.seeds import generator
from models.types import members

MIDWAY = Moment(step=10, steps=30, epoch=1, epochs=3, ends_epoch=True)
LAST = Moment(step=30, steps=30, epoch=3, epochs=3, ends_epoch=True)

REWIRINGS = [
    *(member() for member in members(AnyRewiring) if not issubclass(member, Pruning)),  # these have tests of their own
    NeuronSET(importance="in", most=0.3),
    SET(grown="normal"),
    SET(fraction=1.0),
    SET(every=10, last_epoch="prune_only"),
    SET(removal="magnitude", drop=CosineDrop(), until=0.75),
    SET(growth="unfired", drop=LinearDrop()),
    RigL(fraction=1.0),
    DSR(threshold=0.3),
    SparseMomentum(fraction=1.0, every=10),
]
rewirings = pytest.mark.parametrize("rewiring", REWIRINGS, ids=repr)
densities = pytest.mark.parametrize("density", [0.05, 0.5, 1.0])


def network(density: float) -> list[SparseLayer]:
    stream = generator(1)
    return [
        SparseConv2d(3, 8, 3, density=density, generator=stream),
        SparseLinear(40, 30, density=density, generator=stream),
        SparseLinear(30, 10, density=density, generator=stream),
    ]


def rewire(
    rewiring: Rewiring, layers: list[SparseLayer], moment: Moment = MIDWAY, seed: int = 0
) -> list[Rewired | None]:
    state = rewiring.start(layers)
    moment = replace(moment, gradients=gradients(layers))
    if rewiring.observes(moment):
        state = rewiring.observe(state, moment)
    return rewiring(state, layers, moment, generator(seed))[1]


def gradients(layers: Sequence[SparseLayer]) -> list[DenseGradient]:
    """Of a batch that each layer sees as it would see its inputs."""
    with watching(layers) as found:
        for layer in layers:
            shape = (4, layer.in_channels, 5, 5) if isinstance(layer, SparseConv2d) else (4, layer.connections.shape[1])
            layer(torch.randn(shape, generator=generator(5))).sin().square().sum().backward()
    return found


def one(rewiring: Rewiring, layer: SparseLayer, moment: Moment = MIDWAY, seed: int = 0) -> Rewired:
    [after] = rewire(rewiring, [layer], moment, seed)
    assert after is not None
    return after


def layer_with(values: list[float], total: int = 200) -> SparseLinear:
    """One unit whose weights have these values, at random places."""
    layer = SparseLinear(total, 1, connections=random_connections((1, total), len(values), generator(2)))
    layer.assign(torch.tensor(values))
    return layer


@rewirings
@densities
def test_the_count_of_connections_never_changes_before_the_end(rewiring: Rewiring, density: float) -> None:
    layers = network(density)
    counts, rewired = tuple(layer.connections.nnz for layer in layers), rewire(rewiring, layers)
    left = []
    for layer, after in zip(layers, rewired, strict=True):
        left.append(layer.connections.nnz if after is None else after.connections.nnz)
        assert after is None or after.connections.shape == layer.connections.shape
    asked = rewiring.asked(counts, rewired, MIDWAY, rewiring.start(layers))
    assert (sum(left) if isinstance(asked, int) else tuple(left)) == asked
    assert sum(left) == sum(counts)


@rewirings
@densities
def test_survivors_were_active_and_the_grown_are_none_of_them(rewiring: Rewiring, density: float) -> None:
    layers = network(density)
    for layer, after in zip(layers, rewire(rewiring, layers), strict=True):
        if after is not None:
            assert torch.isin(after.survivors, layer.connections.positions).all()
            assert not torch.isin(after.grown, after.survivors).any()
            together = torch.cat([after.survivors, after.grown]).sort().values
            assert torch.equal(together, after.connections.positions)
            assert after.values.shape == after.grown.shape


@rewirings
def test_deciding_changes_no_layer_and_repeats_with_its_stream(rewiring: Rewiring) -> None:
    layers = network(0.5)
    before = [layer.to_dense() for layer in layers]
    first, second = rewire(rewiring, layers), rewire(rewiring, layers)
    assert all(torch.equal(layer.to_dense(), dense) for layer, dense in zip(layers, before, strict=True))
    for one_time, other in zip(first, second, strict=True):
        assert (one_time is None) == (other is None)
        if one_time is not None and other is not None:
            assert one_time.connections.hash() == other.connections.hash()
            assert torch.equal(one_time.values, other.values)


@rewirings
def test_a_full_layer_stays_and_uses_no_randomness(rewiring: Rewiring) -> None:
    layers = network(1.0)
    stream = generator(0)
    before = stream.get_state()
    moment = replace(MIDWAY, gradients=gradients(layers))
    _, after = rewiring(rewiring.start(layers), layers, moment, stream)
    assert after == [None, None, None]
    assert torch.equal(stream.get_state(), before)


def test_static_never_rewires() -> None:
    assert not Static().due(MIDWAY)
    assert not Static().due(LAST)
    assert rewire(Static(), network(0.5)) == [None, None, None]


@given(
    values=st.lists(st.sampled_from([-2.0, -1.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.0, 3.0]), min_size=1, max_size=60),
    percent=st.integers(0, 100),
)
def test_set_removes_of_each_sign_the_share_nearest_zero_and_every_zero(values: list[float], percent: int) -> None:
    removed = removed_by_sign(torch.tensor(values), percent / 100).tolist()
    assert all(gone for gone, value in zip(removed, values, strict=True) if value == 0)
    for sign in (1, -1):
        ours = [(abs(value), gone) for gone, value in zip(removed, values, strict=True) if value * sign > 0]
        assert sum(gone for _, gone in ours) == math.floor(Fraction(percent, 100) * len(ours))
        # ties: among equal magnitudes the lower positions go first
        order = sorted(range(len(ours)), key=lambda index: (ours[index][0], index))
        assert [ours[index][1] for index in order] == sorted((gone for _, gone in ours), reverse=True)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 32), (torch.float64, 64)])
@settings(deadline=None)  # compiled on first use
@given(data=st.data())
def test_set_tells_magnitudes_apart_to_the_last_bit(dtype: torch.dtype, width: int, data: st.DataObject) -> None:
    # Few distinct numbers, each with its neighbours: some differ in the last bit alone, some are equal.
    drawn = data.draw(st.lists(st.floats(width=width, allow_nan=False), min_size=1, max_size=8))  # type: ignore[arg-type]
    near = torch.tensor(drawn, dtype=dtype)
    values = torch.cat([near, near.nextafter(torch.tensor(math.inf, dtype=dtype)), -near, near])
    removed = removed_by_sign(values, 0.3)
    expected = values == 0
    for sign in (values > 0, values < 0):
        ours = sign.nonzero().flatten()
        order = values[ours].abs().argsort(stable=True)
        expected[ours[order[: 3 * len(ours) // 10]]] = True
    assert torch.equal(removed, expected)


def test_set_never_removes_what_is_no_number() -> None:
    values = torch.tensor([math.nan, 1.0, -1.0, math.inf, -math.inf, 0.0, -math.nan])
    assert removed_by_sign(values, 1.0).tolist() == [False, True, True, True, True, True, False]


def test_survivors_and_the_grown_stand_where_the_rewiring_says() -> None:
    after = one(SET(), SparseLinear(60, 40, density=0.2, generator=generator(0)))
    here, there = after.places
    assert torch.equal(after.connections.positions[here], after.survivors)
    assert torch.equal(after.connections.positions[there], after.grown)


def test_set_takes_the_fraction_as_it_was_written() -> None:
    # .29 * 100 is 28.999999999999996 in floats.
    assert int(removed_by_sign(torch.arange(1.0, 101), 0.29).sum()) == 29


def test_set_removes_by_sign_and_not_by_magnitude() -> None:
    removed = removed_by_sign(torch.tensor([0.1, 0.2, 0.3, 0.4, -5.0, -6.0]), 0.5)
    assert removed.tolist() == [True, True, False, False, True, False]


@densities
def test_set_removes_and_grows_as_many_as_its_definition_says(density: float) -> None:
    for layer in network(density):
        values = layer.values
        positive, negative = int((values > 0).sum()), int((values < 0).sum())
        expected = 3 * positive // 10 + 3 * negative // 10
        [after] = rewire(SET(fraction=0.3), [layer])
        if layer.connections.nnz == layer.connections.total:
            assert after is None
        else:
            assert after is not None
            assert after.grown.numel() == expected
            assert after.survivors.numel() == layer.connections.nnz - expected


def test_set_keeps_the_weights_farther_from_zero_than_those_it_removes() -> None:
    layer = SparseLinear(60, 40, density=0.2, generator=generator(0))
    dense = layer.to_dense().flatten()
    after = one(SET(), layer)
    kept = dense[after.survivors]
    gone = dense[torch.tensor(sorted({*layer.connections.positions.tolist()} - {*after.survivors.tolist()}))]
    assert gone[gone > 0].max() <= kept[kept > 0].min()
    assert gone[gone < 0].min() >= kept[kept < 0].max()


def test_set_removes_weights_that_are_exactly_zero() -> None:
    layer = layer_with([0.0, 1.0, -0.0, -1.0, 2.0])
    after = one(SET(fraction=0.3), layer)
    assert torch.equal(after.survivors, layer.connections.positions[[1, 3, 4]])
    assert after.grown.numel() == 2


def test_set_may_grow_a_position_it_has_just_removed_and_that_one_is_new() -> None:
    layer = layer_with([0.0, 1.0], total=3)
    zero = int(layer.connections.positions[0])
    regrown = [one(SET(), layer, seed=seed) for seed in range(20)]
    assert {int(after.grown) for after in regrown} == {0, 1, 2} - {int(layer.connections.positions[1])}
    again = next(after for after in regrown if int(after.grown) == zero)
    assert again.survivors.tolist() == [int(layer.connections.positions[1])]


def test_set_grows_uniformly_among_all_that_are_absent_after_the_removal() -> None:
    layer = layer_with([0.1, 0.2, 0.3, -0.1, -0.2, -0.3, 5.0, 6.0, -5.0, -6.0], total=40)
    rewiring, stream = SET(fraction=0.4), generator(3)
    hits = torch.zeros(40)
    for _ in range(1200):
        _, [after] = rewiring(None, [layer], MIDWAY, stream)
        assert after is not None
        hits[after.grown] += 1
    kept = layer.connections.positions[~removed_by_sign(layer.values.detach(), 0.4)]
    assert kept.numel() == 6
    absent = torch.ones(40, dtype=torch.bool)
    absent[kept] = False
    expected = 1200 * 4 / 34
    assert int(hits[kept].sum()) == 0
    statistic = float(((hits[absent] - expected) ** 2 / expected).sum()) / (1 - 3 / 33)
    assert 1e-3 < stats.chi2(33).cdf(statistic) < 1 - 1e-3


def test_set_explores_as_fast_as_random_growth_must() -> None:
    density, fraction = 0.1, 0.3
    q = fraction * density / (1 - density * (1 - fraction))
    layer, stream = SparseLinear(100, 100, density=density, generator=generator(0)), generator(1)
    explored, seen = layer.connections.mask(), {}
    for rewires in range(1, 101):
        layer.assign(torch.randn(layer.connections.nnz, generator=stream))
        _, [after] = SET(fraction=fraction)(None, [layer], MIDWAY, stream)
        assert after is not None
        layer.rewire(after)
        explored |= layer.connections.mask()
        seen[rewires] = float(explored.float().mean())
    for rewires, known in ((20, 0.53), (70, 0.91), (100, 0.97)):
        formula = 1 - (1 - density) * (1 - q) ** rewires
        assert formula == pytest.approx(known, abs=0.006)
        assert seen[rewires] == pytest.approx(formula, abs=0.015)


def test_new_weights_are_zero_or_the_papers_normal() -> None:
    layer = SparseLinear(300, 200, density=0.5, generator=generator(0))
    assert not one(SET(), layer).values.any()
    normal = one(SET(grown="normal"), layer).values
    assert float(normal.std()) == pytest.approx(0.1, abs=4 * 0.1 / math.sqrt(2 * normal.numel()))
    assert float(normal.mean()) == pytest.approx(0, abs=4 * 0.1 / math.sqrt(normal.numel()))


def test_prune_only_removes_at_the_end_and_does_not_regrow() -> None:
    layer = layer_with([1.0, 2.0, 3.0, 4.0, -1.0, -2.0, 0.0])
    after = one(SET(fraction=0.5, last_epoch="prune_only"), layer, LAST)
    assert after.connections.nnz == 7 - 2 - 1 - 1
    assert after.grown.numel() == after.values.numel() == 0
    layer.rewire(after)
    assert layer.count_active() == 3


def moments(steps_per_epoch: int = 4, epochs: int = 3) -> list[Moment]:
    steps = steps_per_epoch * epochs
    return [
        Moment(step, steps, (step - 1) // steps_per_epoch + 1, epochs, step % steps_per_epoch == 0)
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize(
    ("rewiring", "steps"),
    [
        (SET(), [4, 8]),
        (SET(last_epoch="prune_only"), [4, 8, 12]),
        (SET(every=3), [3, 6, 9]),
        (SET(every=3, last_epoch="prune_only"), [3, 6, 9, 12]),
        (SET(every=5), [5, 10]),
        (SET(every=5, last_epoch="prune_only"), [5, 10, 12]),
        (SET(fraction=0.0), []),
        (SET(fraction=0.0, every=1, last_epoch="prune_only"), []),
    ],
    ids=repr,
)
def test_set_is_due_when_it_says(rewiring: SET, steps: list[int]) -> None:
    assert [moment.step for moment in moments() if rewiring.due(moment)] == steps


def test_every_must_be_a_positive_number_of_steps() -> None:
    with pytest.raises(ValueError, match=r"SET.every: 0 is not allowed"):
        SET(every=0)


@pytest.mark.parametrize("options", [{"until": 0.75}, {"drop": CosineDrop()}], ids=repr)
def test_pruning_at_the_end_is_refused_where_nothing_is_dropped_there(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"SET.last_epoch: 'prune_only' is not allowed .* it must be 'skip'"):
        SET(last_epoch="prune_only", **options)


def test_set_by_magnitude_removes_the_share_of_all_whatever_their_sign() -> None:
    layer = layer_with([0.1, 0.2, 0.3, 0.4, -5.0, -6.0])
    after = one(SET(fraction=0.5, removal="magnitude"), layer)
    assert torch.equal(after.survivors, layer.connections.positions[3:])
    assert after.grown.numel() == 3


def test_set_drops_less_as_its_share_falls() -> None:
    layer = SparseLinear(60, 40, density=0.2, generator=generator(0))
    rewiring = SET(fraction=0.3, removal="magnitude", drop=LinearDrop())
    for step, share in ((10, 0.2), (20, 0.1)):
        after = one(rewiring, layer, Moment(step, 30, step // 10, 3, ends_epoch=True))
        assert after.grown.numel() == math.floor(share * 480)


def test_unfired_growth_takes_positions_never_active_while_there_are_any() -> None:
    layer, stream = layer_with([1.0, 2.0, 3.0, 4.0, 5.0], total=12), generator(1)
    rewiring = SET(fraction=0.4, removal="magnitude", growth="unfired")
    state, seen = rewiring.start([layer]), set(layer.connections.positions.tolist())
    for fresh in (2, 2, 2, 1, 0):
        layer.assign(torch.arange(1.0, 6.0))
        state, [after] = rewiring(state, [layer], MIDWAY, stream)
        assert after is not None
        assert after.grown.numel() == 2
        assert len(set(after.grown.tolist()) - seen) == fresh
        seen |= set(after.grown.tolist())
        assert state.positions[0].tolist() == sorted(seen)
        layer.rewire(after)
    assert len(seen) == 12


def test_connections_before_a_rewiring_are_values_that_stay() -> None:
    layer = SparseLinear(20, 20, density=0.3, generator=generator(0))
    before = layer.connections
    kept = copy.deepcopy(before.positions)
    layer.rewire(one(SET(), layer))
    assert torch.equal(before.positions, kept)
    assert isinstance(before, Connections)
