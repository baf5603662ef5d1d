"""Paths counted exactly, and what lies on one."""

from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problem import begin

from models.connections import Connections, random_connections
from models.paths import connectivity, path_counts
from models.seeds import generator


def linear(rows: list[list[int]]) -> Connections:
    return Connections.from_mask(torch.tensor(rows))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=2, max_size=5), st.floats(0, 1), st.integers(0, 1000))
def test_path_counts_are_the_product_of_the_masks(widths: list[int], density: float, seed: int) -> None:
    stream = generator(seed)
    sizes = list(zip(widths[1:], widths[:-1], strict=True))
    layers = [random_connections(shape, round(density * shape[0] * shape[1]), stream) for shape in sizes]
    masks = [layer.mask().numpy().astype(np.int64) for layer in layers]
    expected = reduce(lambda before, mask: mask @ before, masks)
    paths = path_counts(layers)
    assert np.array_equal(paths, expected)
    found = connectivity(layers)
    assert found.paths == expected.sum()
    assert found.inputs == (int((expected.sum(0) > 0).sum()), widths[0])
    assert found.outputs == (int((expected.sum(1) > 0).sum()), widths[-1])
    assert found.on_paths == tuple(on_paths(masks))


def on_paths(masks: list[np.ndarray]) -> list[int]:
    """One connection at a time: it is on a path if taking it away takes a path away."""

    def total(changed: list[np.ndarray]) -> int:
        return int(reduce(lambda before, mask: mask @ before, changed).sum())

    counts = []
    for n, mask in enumerate(masks):
        hit = 0
        for place in np.argwhere(mask):
            without = mask.copy()
            without[tuple(place)] = 0
            hit += total([*masks[:n], without, *masks[n + 1 :]]) < total(masks)
        counts.append(hit)
    return counts


def test_a_unit_without_outputs_carries_no_path() -> None:
    first = linear([[1, 1, 0], [0, 0, 1]])
    second = linear([[1, 0], [1, 0]])
    found = connectivity([first, second])
    assert (found.paths, found.inputs, found.outputs, found.on_paths) == (4, (2, 3), (2, 2), (2, 2))


def test_channels_are_linked_by_any_weight_of_their_kernel_and_flattened_ones_by_any_position() -> None:
    kernels = torch.zeros(2, 2, 3, 3)
    kernels[0, 0, 0, 1] = kernels[0, 0, 2, 2] = kernels[1, 1, 1, 1] = 1
    flattened = torch.zeros(2, 2 * 4)
    flattened[0, 0] = flattened[0, 3] = flattened[1, 7] = 1
    layers = [Connections.from_mask(kernels), Connections.from_mask(flattened)]
    assert path_counts(layers).tolist() == [[1, 0], [0, 1]]
    assert connectivity(layers).on_paths == (3, 3)


def test_layers_must_follow_one_another() -> None:
    with pytest.raises(ValueError, match="layer 1 has 3 inputs; the layer before has 2 outputs"):
        path_counts([linear([[1, 1], [1, 0]]), linear([[1, 1, 1]])])


def test_a_network_in_training_can_be_measured() -> None:
    run = begin(density=1.0)
    found = connectivity([layer.connections for layer in run.layers.values()])
    assert found.paths == 12 * 16 * 10 * 3
    assert found.on_paths == run.plan.counts


def test_a_million_connections_between_a_million_units_are_measured() -> None:
    shape = (500_000, 500_000)
    layers = [random_connections(shape, 200_000, generator(n)) for n in range(2)]
    assert connectivity(layers).inputs[1] == 500_000
