import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_stubs import CNN, LENET, job

from models import allocation
from models.networks.shapes import LayerShape
from search import space
from search.capacity import budget_weights, prunable
from search.projection import project, targets


@st.composite
def problems(draw):
    shapes = draw(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6))
    layers = [LayerShape(f"fc{number}", shape) for number, shape in enumerate(shapes)]
    floors = [layer.outputs for layer in layers]
    total = draw(st.integers(sum(floors), sum(layer.total for layer in layers)))
    ratios = draw(st.lists(st.floats(-3, 3), min_size=len(layers), max_size=len(layers)))
    return layers, ratios, total, floors


@given(problems())
def test_a_projection_meets_every_budget_exactly_between_floors_and_sizes(drawn):
    layers, ratios, total, floors = drawn
    counts = project(layers, ratios, total, floors)
    assert sum(counts) == total
    assert all(low <= count <= layer.total for low, count, layer in zip(floors, counts, layers, strict=True))


@given(problems(), st.floats(-5, 5))
def test_a_shift_common_to_all_ratios_changes_nothing(drawn, shift):
    layers, ratios, total, floors = drawn
    moved = project(layers, [ratio + shift for ratio in ratios], total, floors)
    # A tie between two remainders may be broken by the last bit.
    for one, other in zip(project(layers, ratios, total, floors), moved, strict=True):
        assert abs(one - other) <= 1


@given(problems())
def test_real_targets_meet_the_budget_and_keep_the_proportions_of_layers_within_their_bounds(drawn):
    layers, ratios, total, floors = drawn
    limits = [layer.total for layer in layers]
    shares = [layer.total * math.exp(ratio) for layer, ratio in zip(layers, ratios, strict=True)]
    real = targets(shares, floors, limits, total)
    assert math.fsum(real) == pytest.approx(total, rel=1e-12)
    within = [
        each / share
        for each, share, low, high in zip(real, shares, floors, limits, strict=True)
        if low * (1 + 1e-9) < each < high * (1 - 1e-9)
    ]
    assert not within or max(within) == pytest.approx(min(within), rel=1e-9)


@pytest.mark.parametrize("layers", [LENET, CNN], ids=["lenet", "cnn"])
@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.5])
def test_ratios_of_zero_are_erk(layers, density):
    total = round(density * sum(layer.total for layer in layers))
    counts = project(layers, [0.0] * len(layers), total, [layer.outputs for layer in layers])
    real = allocation.erdos_renyi_kernel(layers, total / sum(layer.total for layer in layers))
    for count, share, layer in zip(counts, real, layers, strict=True):
        assert abs(count - share * layer.total) < 1


def test_a_layer_far_above_its_share_is_full_and_one_far_below_keeps_one_weight_per_output():
    counts = project(LENET, [-9.0, 0.0, 9.0], 10_000, [layer.outputs for layer in LENET])
    assert counts == (300, 8_700, 1_000)


def test_kept_layers_are_full_and_part_of_the_budget():
    spec = job(network={"kind": "lenet_300_100", "keep_dense": ["output"]})
    params = {"ratio_fc1": 0.3, "ratio_fc2": -0.2}
    counts = space.counts(spec, LENET, params)
    assert set(space.distributions(spec, LENET)) == set(params)
    assert [layer.name for layer in prunable(spec.network, LENET)] == ["fc1", "fc2"]
    assert sum(counts) == 26_620
    assert counts[2] == 1_000


def test_a_budget_given_as_a_density_is_a_whole_number_of_weights():
    spec = job({"space": {"kind": "budget", "density": 0.1}})
    assert budget_weights(spec.search.space, LENET) == 26_620


def test_a_free_space_rounds_each_density_and_leaves_every_layer_a_connection():
    spec = job({"space": {"kind": "free", "low": 1e-5, "high": 1.0}})
    params = {"density_fc1": 0.1, "density_fc2": 0.33333, "density_output": 1e-5}
    assert space.counts(spec, LENET, params) == (23_520, 10_000, 1)
