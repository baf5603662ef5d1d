import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_stubs import CNN, LENET, job

from models.networks.shapes import LayerShape
from search import hand_set, space
from search.starts import starts

VGG = {"kind": "vgg", "channels": [16, 32, 64], "stride": 2, "widths": [128]}


def names(spec, layers):
    return [start.name for start in starts(spec, layers)]


def by_counts(spec, layers):
    return {start.name: space.counts(spec, layers, start.params) for start in starts(spec, layers)}


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.3])
@pytest.mark.parametrize(("layers", "network"), [(LENET, {"kind": "lenet_300_100"}), (CNN, VGG)], ids=["lenet", "cnn"])
def test_the_parameters_of_a_start_give_exactly_its_counts(layers, network, density):
    spec = job({"space": {"kind": "budget", "density": density}}, network=network)
    total = round(density * sum(layer.total for layer in layers))
    found = by_counts(spec, layers)
    assert "erk" in found
    for name, counts in found.items():
        assert counts == hand_set.counts(name, layers, total, [layer.outputs for layer in layers])
        assert sum(counts) == total


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=5),
    st.floats(0.01, 1),
    st.floats(0.5, 4),
)
def test_every_start_lies_within_the_window_and_reproduces(shapes, share, window):
    layers = [LayerShape(f"fc{number}", shape) for number, shape in enumerate(shapes[:-1], start=1)]
    layers.append(LayerShape("output", shapes[-1]))
    floors = [layer.outputs for layer in layers]
    total = max(sum(floors), round(share * sum(layer.total for layer in layers)))
    spec = job(
        {"space": {"kind": "budget", "weights": total, "window": window}},
        network={"kind": "mlp", "widths": [shape[0] for shape in shapes[:-1]]},
    )
    found = starts(spec, layers)
    assert found[0].name == "erk"
    for start in found:
        assert all(-window <= ratio <= window for ratio in start.params.values())
        assert space.counts(spec, layers, start.params) == hand_set.counts(start.name, layers, total, floors)


def test_starts_of_a_small_budget_for_a_convolutional_network():
    spec = job({"space": {"kind": "budget", "density": 0.02}}, network=VGG)
    assert names(spec, CNN) == ["erk", "erk_dense_output", "erk_positions", "uniform"]
    counts = by_counts(spec, CNN)
    assert counts["erk_dense_output"][-1] == 1_280
    # ERK·√positions gives the early layers more, the fully connected ones less.
    assert counts["erk_positions"][1] > 4 * counts["erk"][1]
    assert counts["erk_positions"][3] < counts["erk"][3]


def test_two_starts_with_the_same_counts_are_one():
    # At a tenth of LeNet-300-100, ERK's output layer is full already.
    assert names(job(), LENET) == ["erk", "uniform"]


def test_an_output_layer_that_takes_more_than_half_of_the_budget_is_not_made_dense():
    spec = job({"space": {"kind": "budget", "weights": 1_999}})
    assert "erk_dense_output" not in names(spec, LENET)
    spec = job({"space": {"kind": "budget", "weights": 2_000}})
    assert "erk_dense_output" in names(spec, LENET)


def test_a_start_whose_ratios_span_more_than_the_window_is_left_out():
    spec = job({"space": {"kind": "budget", "weights": 26_620, "window": 0.5}})
    assert names(spec, LENET) == ["erk"]


def test_a_free_space_starts_in_its_middle():
    spec = job({"space": {"kind": "free", "low": 0.01, "high": 1.0}})
    counts = by_counts(spec, LENET)
    assert list(counts) == ["erk", "uniform", "dense"]
    assert sum(counts["erk"]) == 26_620
    assert sum(counts["uniform"]) == 26_620
    assert counts["dense"] == (235_200, 30_000, 1_000)


def test_erk_stands_at_the_nearest_density_at_which_a_free_space_contains_it():
    # In the middle, at 0.447, ERK asks for full layers, which are above 0.5: a smaller density is contained.
    spec = job({"space": {"kind": "free", "low": 0.4, "high": 0.5}}, network={"kind": "mlp", "widths": [64, 64]})
    layers = [LayerShape("fc1", (64, 64)), LayerShape("output", (60, 64))]
    start = starts(spec, layers)[0]
    assert start.name == "erk"
    assert all(0.4 <= density <= 0.5 for density in start.params.values())


def test_a_free_space_without_erk_still_has_the_uniform_reference():
    spec = job({"space": {"kind": "free", "low": 0.01, "high": 0.2}})
    assert names(spec, LENET) == ["uniform"]


def test_layers_kept_dense_have_no_parameter_and_do_not_hinder_a_start():
    spec = job(network={"kind": "lenet_300_100", "keep_dense": ["output"]})
    start = starts(spec, LENET)[0]
    assert set(start.params) == {"ratio_fc1", "ratio_fc2"}
    assert space.counts(spec, LENET, start.params)[-1] == 1_000
