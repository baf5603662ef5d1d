"""Connections: exact counts, uniform samples, one value whatever the layer stores."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models.connections import Connections, places, random_connections, top_k
from models.kernels import positions as kernels
from models.seeds import generator

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3)),
)


@st.composite
def connections(draw: st.DrawFn) -> Connections:
    shape = draw(SHAPES)
    total = math.prod(shape)
    count = draw(st.integers(0, total))
    return random_connections(shape, count, generator(draw(st.integers(0, 1000))))


@given(connections())
def test_the_mask_shows_the_positions_and_gives_them_back(active: Connections) -> None:
    assert active.mask().shape == active.shape
    assert int(active.mask().sum()) == active.nnz == active.positions.numel()
    assert torch.equal(Connections.from_mask(active.mask()).positions, active.positions)
    assert active.density == active.nnz / math.prod(active.shape)


@given(SHAPES, st.data())
def test_random_connections_are_exactly_as_many_as_asked(shape: tuple[int, ...], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, math.prod(shape)))
    assert random_connections(shape, count, generator(0)).nnz == count


@given(connections(), st.data())
def test_sampled_positions_are_absent_distinct_and_ascending(active: Connections, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, active.total - active.nnz))
    sampled = active.sample_absent(count, generator(1))
    assert sampled.dtype == torch.int64
    assert sampled.numel() == count
    assert not active.mask().flatten()[sampled].any()
    assert bool((sampled[1:] > sampled[:-1]).all())


@given(connections())
def test_more_than_are_absent_cannot_be_sampled(active: Connections) -> None:
    absent = active.total - active.nnz
    with pytest.raises(ValueError, match=f"count: {absent + 1} is not allowed; {absent} of {active.total}"):
        active.sample_absent(absent + 1, generator(0))


@pytest.mark.parametrize("count", [2, 12, 30])  # of 60 absent: by repeated draws, and by a permutation
def test_every_absent_position_is_sampled_equally_often(count: int) -> None:
    active = random_connections((8, 10), 20, generator(5))
    stream = generator(6)
    counts = torch.zeros(80)
    for _ in range(3000):
        counts[active.sample_absent(count, stream)] += 1
    observed = counts[~active.mask().flatten()]
    # Without replacement counts vary by (1 - count / 60) of a multinomial's variance: divided out, chi-squared holds.
    statistic = float(((observed - 50 * count) ** 2 / (50 * count)).sum()) / (1 - (count - 1) / 59)
    assert stats.chi2(59).sf(statistic) > 1e-3
    assert stats.chi2(59).cdf(statistic) > 1e-3


def test_every_pair_of_absent_positions_is_sampled_equally_often() -> None:
    active = random_connections((4, 5), 9, generator(5))
    stream = generator(7)
    pairs = torch.zeros(20, 20)
    for _ in range(5500):
        first, second = active.sample_absent(2, stream).tolist()
        pairs[first, second] += 1
    free = ~active.mask().flatten()
    observed = pairs[(free[:, None] & free[None, :]).triu(1)]
    assert observed.numel() == 55
    assert int(observed.sum()) == 5500
    assert stats.chisquare(observed).pvalue > 1e-3


def test_a_huge_tensor_is_sampled_in_memory_of_its_connections() -> None:
    active = random_connections((1_000_000, 1_000_000), 5000, generator(0))
    grown = active.sample_absent(3000, generator(1))
    assert active.nnz == 5000
    assert torch.cat([active.positions, grown]).unique().numel() == 8000
    assert int(grown.max()) > 10**11


def test_the_same_stream_samples_the_same_connections() -> None:
    one, other = (random_connections((30, 40), 100, generator(3)) for _ in range(2))
    assert torch.equal(one.positions, other.positions)
    assert one.hash() == other.hash()


def test_the_hash_tells_shapes_and_positions_apart() -> None:
    positions = torch.tensor([0, 3, 5])
    hashes = {
        Connections((2, 3), positions).hash(),
        Connections((3, 2), positions).hash(),
        Connections((2, 3), torch.tensor([0, 3, 4])).hash(),
        Connections.full((2, 3)).hash(),
    }
    assert len(hashes) == 4
    assert all(len(text) == 64 for text in hashes)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.tensor([1, 1]), "ascending"),
        (torch.tensor([2, 1]), "ascending"),
        (torch.tensor([-1, 2]), r"-1\.\.2 is not allowed; shape \(2, 3\) has 0\.\.5"),
        (torch.tensor([0, 6]), r"0\.\.6"),
        (torch.tensor([[0, 1]]), "int64"),
        (torch.tensor([0.0, 1.0]), "int64"),
    ],
)
def test_positions_of_another_form_are_refused(positions: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Connections((2, 3), positions)


@given(st.lists(st.sampled_from([-1.0, 0.0, -0.0, 0.5, 2.0]), max_size=30), st.data())
def test_top_k_takes_the_highest_and_on_ties_the_lower_index(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(scores)))
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    assert top_k(torch.tensor(scores), count).tolist() == sorted(order[:count])


def test_top_k_refuses_what_has_no_order() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top_k(torch.tensor([1.0, math.nan]), 1)
    with pytest.raises(ValueError, match="count: 3 is not allowed; there are 2 scores"):
        top_k(torch.zeros(2), 3)


@settings(deadline=None)  # compiled on first use
@given(st.sets(st.integers(0, 10**12), max_size=60), st.data())
def test_sought_positions_are_found_where_they_stand(held: set[int], data: st.DataObject) -> None:
    positions = torch.tensor(sorted(held), dtype=torch.int64)
    chosen = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(held), max_size=len(held))), dtype=torch.bool)
    found = places(positions, positions[chosen])
    assert found.tolist() == chosen.nonzero().flatten().tolist()


@settings(deadline=None)
@given(connections(), st.data())
def test_what_is_removed_and_grown_again_gives_the_same_connections(active: Connections, data: st.DataObject) -> None:
    flags = st.lists(st.booleans(), min_size=active.nnz, max_size=active.nnz)
    removed = torch.tensor(data.draw(flags), dtype=torch.bool)
    kept = active.kept(removed)
    assert torch.equal(kept.positions, active.positions[~removed])
    assert kept.grown(active.positions[removed]).hash() == active.hash()


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), max_size=30))
def test_of_ascending_numbers_each_is_kept_once(numbers: list[int]) -> None:
    assert kernels.distinct(np.array(sorted(numbers), dtype=np.int64)).tolist() == sorted(set(numbers))
