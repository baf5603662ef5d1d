import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search.paired_test import holm, interval, signed_rank, smallest_p


def test_five_pairs_all_greater_give_one_in_thirty_two():
    assert signed_rank([0.01, 0.02, 0.03, 0.04, 0.05], "greater").p == 1 / 32
    assert smallest_p(5) == 1 / 32


def test_differences_that_are_all_zero_give_one():
    found = signed_rank([0.0, 0.0, 0.0], "greater")
    assert (found.p, found.zeros, found.pairs) == (1.0, 3, 3)


def test_zeros_are_left_out_and_counted():
    found = signed_rank([0.0, 0.01, 0.02, 0.03, 0.04, 0.05], "greater")
    assert (found.p, found.zeros, found.pairs) == (1 / 32, 1, 6)


def test_four_pairs_cannot_reach_the_level():
    assert signed_rank([1.0, 2.0, 3.0, 4.0], "greater").p == smallest_p(4) == 1 / 16


def test_differences_equal_but_for_the_last_bits_tie():
    assert 0.3 - 0.2 != 0.1
    assert signed_rank([0.3 - 0.2, 0.1, -0.1], "greater") == signed_rank([0.1, 0.1, -0.1], "greater")


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=7))
def test_small_samples_are_exact_with_ties_and_zeros(differences):
    nonzero = [each for each in differences if each]
    if not nonzero:
        return
    ranks = stats.rankdata([abs(each) for each in nonzero])
    observed = sum(rank for rank, each in zip(ranks, nonzero, strict=True) if each > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(nonzero))]
    exact = sum(total >= observed for total in sums) / len(sums)
    found = signed_rank(differences, "greater")
    assert found.exact
    assert found.p == pytest.approx(exact)


def test_the_interval_is_students():
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)
    assert not found.above_zero
    assert not found.below_zero


def test_one_pair_has_no_interval():
    found = interval([1.0])
    assert (found.low, found.high, found.above_zero) == (None, None, False)


def test_holm_multiplies_the_smallest_by_all_and_never_falls():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
