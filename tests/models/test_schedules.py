from itertools import pairwise
from typing import Any

import pytest

from models.schedules import AnySchedule, Constant, Cosine, Step
from models.types import kind_of, members

SCHEDULES = [*(member() for member in members(AnySchedule)), Cosine(warm_up=0.25), Step(at=(), factor=0.5)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: kind_of(type(schedule)))
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_every_step_has_a_positive_factor_of_at_most_one(schedule: Any, steps: int) -> None:
    assert all(0 < schedule(step, steps) <= 1 for step in range(steps))


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 1 / 3, 0.7])
@pytest.mark.parametrize("steps", [3, 10, 997])
def test_the_cosine_ends_at_exactly_zero(warm_up: float, steps: int) -> None:
    assert Cosine(warm_up)(steps, steps) == 0.0


def test_the_cosine_falls_from_one_through_a_half() -> None:
    factors = [Cosine()(step, 100) for step in range(101)]
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5)
    assert factors == sorted(factors, reverse=True)


def test_the_warm_up_rises_in_equal_steps_to_the_top() -> None:
    factors = [Cosine(warm_up=0.1)(step, 100) for step in range(100)]
    rises = [after - before for before, after in pairwise(factors[:11])]
    assert rises == pytest.approx([1 / 11] * 10)
    assert factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_steps_multiply_where_their_shares_are_reached() -> None:
    schedule = Step(at=(0.5, 0.75), factor=0.1)
    assert [schedule(step, 8) for step in (0, 3, 4, 5, 6, 7)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_constant_rate_stays() -> None:
    assert {Constant()(step, 9) for step in range(10)} == {1.0}
