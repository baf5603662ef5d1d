"""Exact numbers of connections, where they are to grow and where not; shares that fall over the training."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.connections import Connections, random_connections
from models.rewiring import Moment
from models.rewiring.drop import AnyDrop, ConstantDrop, CosineDrop, LinearDrop, dropped
from models.rewiring.growth import highest, preferring
from models.rewiring.period import in_turn
from models.rewiring.removal import removed_by_magnitude
from models.seeds import generator


def at(step: int, steps: int = 100, ends_epoch: bool = False) -> Moment:
    return Moment(step, steps, epoch=1, epochs=1, ends_epoch=ends_epoch)


def pieces(scores: torch.Tensor, length: int) -> list[tuple[int, torch.Tensor]]:
    return [(begin, scores[begin : begin + length]) for begin in range(0, len(scores), length)]


@settings(deadline=None)
@given(
    scores=st.lists(st.sampled_from([-3.0, -1.0, -0.0, 0.0, 0.5, 1.0, math.inf]), min_size=1, max_size=30),
    data=st.data(),
)
def test_the_highest_are_those_of_a_sort_whatever_the_ties_and_the_pieces(
    scores: list[float], data: st.DataObject
) -> None:
    kept = sorted(data.draw(st.sets(st.integers(0, len(scores) - 1))))
    count = data.draw(st.integers(0, len(scores) - len(kept)))
    length = data.draw(st.integers(1, len(scores)))
    connections = Connections((1, len(scores)), torch.tensor(kept, dtype=torch.int64))
    found = highest(connections, pieces(torch.tensor(scores), length), count)
    absent = [position for position in range(len(scores)) if position not in kept]
    assert found.tolist() == sorted(sorted(absent, key=lambda position: (-abs(scores[position]), position))[:count])


def test_the_highest_of_a_gradient_written_by_hand() -> None:
    # kept: 1 and 5; the largest of all are theirs, and 8 beats what was negative only by magnitude.
    gradient = torch.tensor([9.0, -90.0, 0.0, 1.0, -8.0, 70.0, 0.0, 8.5, 0.0])
    kept = Connections((3, 3), torch.tensor([1, 5]))
    assert highest(kept, pieces(gradient, 3), 3).tolist() == [0, 4, 7]
    assert highest(kept, pieces(gradient, 3), 5).tolist() == [0, 2, 3, 4, 7]


def test_what_is_no_number_is_refused_where_it_would_have_to_be_chosen() -> None:
    gradient = torch.tensor([1.0, math.nan, 2.0])
    kept = Connections((1, 3), torch.tensor([0]))
    assert highest(kept, [(0, gradient)], 1).tolist() == [2]
    with pytest.raises(ValueError, match=r"count: 2 is not allowed; 1 absent connections have a finite score"):
        highest(kept, [(0, gradient)], 2)


@settings(deadline=None)
@given(total=st.integers(2, 40), data=st.data())
def test_positions_to_be_grown_last_are_grown_only_where_no_others_are_left(total: int, data: st.DataObject) -> None:
    later = random_connections((1, total), data.draw(st.integers(1, total)), generator(0))
    kept = Connections(later.shape, later.positions[: data.draw(st.integers(0, later.nnz - 1))])
    count = data.draw(st.integers(0, total - kept.nnz))
    grown = preferring(kept, later, count, generator(1))
    assert len(grown) == len(set(grown.tolist())) == count
    assert grown.tolist() == sorted(grown.tolist())
    assert not torch.isin(grown, kept.positions).any()
    assert int(torch.isin(grown, later.positions).sum()) == max(0, count - (total - later.nnz))


@settings(deadline=None)
@given(values=st.lists(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, math.nan]), max_size=30), data=st.data())
def test_the_smallest_by_magnitude_go_lower_positions_first(values: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    gone = removed_by_magnitude(torch.tensor(values), count)
    size = [math.inf if math.isnan(value) else abs(value) for value in values]
    order = sorted(range(len(values)), key=lambda index: (size[index], index))
    assert gone.nonzero().flatten().tolist() == sorted(order[:count])


@pytest.mark.parametrize(
    ("drop", "shares"),
    [
        (CosineDrop(), [0.3, 0.256, 0.15, 0.044, 0.0]),
        (LinearDrop(), [0.3, 0.225, 0.15, 0.075, 0.0]),
        (ConstantDrop(), [0.3, 0.3, 0.3, 0.3, 0.3]),
    ],
    ids=["cosine", "linear", "constant"],
)
def test_the_share_dropped_falls_as_published(drop: AnyDrop, shares: list[float]) -> None:
    found = [float(dropped(0.3, drop, at(step, steps=400), until=0.75)) for step in (0, 75, 150, 225, 300)]
    assert found == pytest.approx(shares, abs=5e-4)
    assert found[0] == 0.3
    assert found[2] == shares[2]


def test_shares_are_exact_where_floats_are_not() -> None:
    assert dropped(0.29, ConstantDrop(), at(1), 1.0) * 100 == 29
    assert dropped(0.3, LinearDrop(), at(1, steps=3), 1.0) * 300 == 60
    assert CosineDrop()(Fraction(2, 3)) == Fraction(1, 4)


def test_rewirings_are_in_turn_until_their_end_and_not_at_it() -> None:
    # .55 of 100 is 55.00000000000001 in floats.
    assert [step for step in range(1, 101) if in_turn(at(step), 11, 0.55)] == [11, 22, 33, 44]
    assert [step for step in range(1, 101) if in_turn(at(step), 25, 1.0)] == [25, 50, 75]
    assert in_turn(at(30, ends_epoch=True), "epoch", 0.75)
    assert not in_turn(at(30), "epoch", 0.75)
    assert not in_turn(at(75, ends_epoch=True), "epoch", 0.75)


def test_joined_connections_are_the_union() -> None:
    some = Connections((2, 5), torch.tensor([0, 3, 9]))
    assert some.joined(torch.tensor([0, 1, 9])).positions.tolist() == [0, 1, 3, 9]
    none = Connections((2, 5), torch.empty(0, dtype=torch.int64))
    assert none.joined(torch.tensor([4])).positions.tolist() == [4]
