"""Allocations: published vectors, exact totals, and what holds for any network."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.allocation import erdos_renyi, erdos_renyi_epsilon, erdos_renyi_kernel, uniform, whole_counts
from models.networks.shapes import LayerShape

Allocation = Callable[[Sequence[LayerShape], float], tuple[float, ...]]
ALLOCATIONS = [uniform, erdos_renyi, erdos_renyi_kernel]


def mlp(*sizes: int) -> tuple[LayerShape, ...]:
    return tuple(LayerShape(f"fc{n}", (out, into)) for n, (into, out) in enumerate(pairwise(sizes)))


LENET = mlp(784, 300, 100, 10)
MNIST1D = mlp(40, 100, 100, 10)
DIGITS = mlp(64, 64, 64, 10)

NETWORKS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=6,
).map(lambda weights: tuple(LayerShape(f"layer{n}", weight) for n, weight in enumerate(weights)))
DENSITIES = st.floats(0.001, 1.0)


@pytest.mark.parametrize(
    ("layers", "density", "expected"),
    [
        (LENET, 0.5, (0.4341, 1, 1)),
        (LENET, 0.2, (0.16224, 0.46936, 1)),
        (LENET, 0.1, (0.07957, 0.23019, 1)),
        (LENET, 0.05, (0.03848, 0.11133, 0.91851)),
        (LENET, 0.02, (0.01539, 0.04453, 0.36740)),
        (MNIST1D, 0.5, (0.66912, 0.38235, 1)),
        (MNIST1D, 0.2, (0.23333, 0.13333, 0.73333)),
        (MNIST1D, 0.1, (0.11667, 0.06667, 0.36667)),
        (DIGITS, 0.2, (0.16727, 0.16727, 0.61891)),
    ],
)
@pytest.mark.parametrize("allocation", [erdos_renyi, erdos_renyi_kernel])
def test_erk_gives_the_known_densities(
    allocation: Allocation, layers: tuple[LayerShape, ...], density: float, expected: tuple[float, ...]
) -> None:
    digits = 4 if expected[0] == 0.4341 else 5
    assert tuple(round(value, digits) for value in allocation(layers, density)) == expected


def test_erk_spreads_lenet_at_ten_percent_with_the_known_scale() -> None:
    first, *_ = erdos_renyi(LENET, 0.1)
    assert first * 784 * 300 / (784 + 300) == pytest.approx(17.264, abs=5e-4)


def test_kernels_count_in_erk_and_not_in_erdos_renyi() -> None:
    layers = (LayerShape("conv1", (50, 20, 5, 5)), LayerShape("fc1", (500, 800)))
    erk, plain = erdos_renyi_kernel(layers, 0.1), erdos_renyi(layers, 0.1)
    assert erk[0] / erk[1] == pytest.approx((80 / 25000) / (1300 / 400000))
    assert plain[0] / plain[1] == pytest.approx((70 / 1000) / (1300 / 400000))


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@given(layers=NETWORKS, density=DENSITIES)
def test_densities_are_shares_that_make_the_asked_total(
    allocation: Allocation, layers: tuple[LayerShape, ...], density: float
) -> None:
    densities = allocation(layers, density)
    total = sum(layer.total for layer in layers)
    assert all(0 < value <= 1 for value in densities)
    assert sum(value * layer.total for value, layer in zip(densities, layers, strict=True)) == pytest.approx(
        density * total, rel=1e-12
    )


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@given(layers=NETWORKS)
def test_density_one_is_dense_everywhere(allocation: Allocation, layers: tuple[LayerShape, ...]) -> None:
    assert allocation(layers, 1.0) == tuple(1.0 for _ in layers)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@given(layers=NETWORKS, density=DENSITIES, data=st.data())
def test_the_order_of_layers_does_not_matter(
    allocation: Allocation, layers: tuple[LayerShape, ...], density: float, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(layers))))
    shuffled = allocation([layers[index] for index in order], density)
    assert shuffled == tuple(allocation(layers, density)[index] for index in order)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("density", [0, -0.1, 1.5, math.nan])
def test_a_density_outside_its_range_is_refused_with_value_and_range(allocation: Allocation, density: float) -> None:
    with pytest.raises(ValueError, match=f"density: {density} is not allowed; it must be > 0 and <= 1"):
        allocation(LENET, density)


def test_sets_own_form_clips_at_dense_and_keeps_its_epsilon() -> None:
    # 784 x 1000 at epsilon 13 is 2.958 % and 1000 x 10 passes 1 (p = 1.31).
    first, last = erdos_renyi_epsilon((*mlp(784, 1000), *mlp(1000, 10)), 13)
    assert first == pytest.approx(0.02958, abs=5e-6)
    assert last == 1


@pytest.mark.parametrize("epsilon", [0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_no_positive_number_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        erdos_renyi_epsilon(LENET, epsilon)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@given(layers=NETWORKS, density=DENSITIES)
def test_whole_counts_add_up_and_stay_within_one_of_their_targets(
    allocation: Allocation, layers: tuple[LayerShape, ...], density: float
) -> None:
    limits = [layer.total for layer in layers]
    targets = [value * limit for value, limit in zip(allocation(layers, density), limits, strict=True)]
    counts = whole_counts(targets, limits, round(density * sum(limits)))
    assert sum(counts) == round(density * sum(limits))
    assert all(abs(count - target) < 1 + 1e-9 for count, target in zip(counts, targets, strict=True))
    assert all(0 <= count <= limit for count, limit in zip(counts, limits, strict=True))


def test_the_largest_remainder_gets_the_connection_that_is_left() -> None:
    assert whole_counts([1.2, 2.7, 3.1], [9, 9, 9], 7) == (1, 3, 3)


def test_the_lower_layer_is_first_on_ties() -> None:
    assert whole_counts([1.5, 2.5, 3.5, 4.5], [9] * 4, 12) == (2, 3, 3, 4)
    # .07 * 50 is 3.5000000000000004 in floats and .07 * 150 is 10.500000000000002: rounding noise breaks no tie.
    assert whole_counts([3.5, 3.5000000000000004], [9, 9], 7) == (4, 3)


def test_a_whole_target_just_missed_by_rounding_is_met() -> None:
    assert whole_counts([0.1 + 0.2 - 0.3 + 2, 2.9999999999999996], [9, 9], 5) == (2, 3)


def test_floors_are_kept_at_the_cost_of_the_layer_with_most_to_spare() -> None:
    assert whole_counts([0.2, 0.2, 10.6], [9, 9, 20], 11, floors=[1, 1, 1]) == (1, 1, 9)


def test_limits_are_kept_and_the_rest_goes_to_the_others() -> None:
    assert whole_counts([12.0, 1.0, 1.0], [10, 9, 9], 14) == (10, 2, 2)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.integers(0, 5), st.integers(0, 50)), min_size=1, max_size=6),
    st.data(),
)
def test_any_total_between_floors_and_limits_is_met_exactly(
    layers: list[tuple[float, int, int]], data: st.DataObject
) -> None:
    targets = [target for target, _, _ in layers]
    floors = [floor for _, floor, _ in layers]
    limits = [floor + room for _, floor, room in layers]
    total = data.draw(st.integers(sum(floors), sum(limits)))
    counts = whole_counts(targets, limits, total, floors)
    assert sum(counts) == total
    assert all(low <= count <= high for low, count, high in zip(floors, counts, limits, strict=True))


@pytest.mark.parametrize(
    ("total", "floors", "limits"), [(21, [0, 0], [10, 10]), (1, [1, 1], [10, 10]), (5, [4, 0], [3, 9])]
)
def test_a_total_out_of_reach_is_refused(total: int, floors: list[int], limits: list[int]) -> None:
    with pytest.raises(ValueError, match=f"total: {total} is not allowed"):
        whole_counts([1.0, 1.0], limits, total, floors)
