"""Random expanders: degrees exact on the smaller side, nobody isolated on the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from untrained_problem import of_shapes, shapes

from models.connections import Connections
from models.seeds import generator
from models.topologies import Expander


def built(degree: int, *weights: tuple[int, ...], seed: int = 0) -> list[Connections]:
    network = of_shapes(*weights)
    net = Expander(degrees=(degree,))
    return net(network, net.counts(network.layers, None), generator(seed))


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_degrees_are_exact_on_the_smaller_side_and_no_unit_of_the_other_is_isolated(
    out: int, into: int, data: st.DataObject
) -> None:
    few, many = sorted((out, into))
    degree = data.draw(st.integers(-(-many // few), many))
    [active] = built(degree, (out, into), seed=data.draw(st.integers(0, 1000)))
    mask = active.mask()
    chosen, other = (mask.sum(1), mask.sum(0)) if out < into else (mask.sum(0), mask.sum(1))
    assert set(chosen.tolist()) == {degree}
    assert int(other.min()) > 0


def test_a_convolution_links_channels_and_replicates_links_over_the_kernel() -> None:
    [active] = built(4, (8, 12, 3, 3))
    channels = active.mask().flatten(2)
    assert (channels.all(dim=2) == channels.any(dim=2)).all()
    assert set(channels.any(dim=2).sum(1).tolist()) == {4}
    assert active.nnz == 4 * 8 * 9


def test_where_nothing_has_to_be_repaired_every_link_is_equally_likely() -> None:
    hits = torch.zeros(30 * 31)
    rounds = 300
    for seed in range(rounds):
        hits[built(10, (30, 31), seed=seed)[0].positions] += 1
    expected = rounds * 10 / 31
    # Ten of 31 without replacement: each output's counts vary by 21/30 of what independent ones would.
    statistic = float(((hits - expected) ** 2 / expected).sum()) * 30 / 21
    assert 1e-3 < stats.chi2(30 * 30).cdf(statistic) < 1 - 1e-3


def test_units_that_were_repaired_are_as_likely_as_others() -> None:
    degrees = sum(built(2, (10, 20), seed=seed)[0].mask().sum(0) for seed in range(5))
    assert degrees.tolist() == [5] * 20  # two links each for ten: all are needed, none is left over
    hits = torch.zeros(20)
    for seed in range(300):
        hits += built(3, (10, 20), seed=seed)[0].mask().sum(0)
    assert hits.sum() == 300 * 30
    assert ((hits - 450).abs() < 60).all()


def test_a_wide_layer_costs_what_its_connections_cost() -> None:
    [active] = built(4, (200_000, 100_000))
    assert active.nnz == 400_000


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ((21,), "21 is not allowed for layer1; it must be between 2, which links all of 20 units to 10, and 20"),
        ((1,), "1 is not allowed for layer1; it must be between 2"),
        ((2, 2), r"2 numbers are not allowed; 1 layers are not kept dense \(layer1\)"),
    ],
)
def test_degrees_that_a_layer_cannot_have_are_refused(degrees: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Expander(degrees=degrees).counts(shapes((10, 20)), None)


@pytest.mark.parametrize("degrees", [(), (3, 0)])
def test_degrees_are_positive_numbers(degrees: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expander\.degrees"):
        Expander(degrees=degrees)


def test_every_layer_may_have_its_own_degree() -> None:
    assert Expander(degrees=(4, 3)).counts(shapes((10, 20), (5, 10)), None) == (40, 15)
