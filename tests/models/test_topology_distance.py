import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.connections import Connections, random_connections
from models.seeds import generator
from models.topology_distance import nnstd, unit_distances

SEEDS = st.integers(0, 10_000)


def layer(inputs: list[list[int]], width: int) -> Connections:
    """One with these inputs of each unit."""
    mask = torch.zeros(len(inputs), width)
    for unit, places in enumerate(inputs):
        mask[unit, places] = 1
    return Connections.from_mask(mask)


def network(shapes: list[tuple[int, ...]], density: float, seed: int) -> list[Connections]:
    draw = generator(seed)
    return [random_connections(shape, round(density * int(np.prod(shape))), draw) for shape in shapes]


def permuted(masks: list[torch.Tensor], seed: int) -> list[Connections]:
    """The same network, its hidden units in another order."""
    found, order = [], torch.arange(masks[0].shape[1])
    for number, mask in enumerate(masks):
        each = mask.flatten(1).shape[1] // len(order)
        mask = mask.flatten(1).view(len(mask), len(order), each)[:, order].reshape(mask.shape)
        order = torch.randperm(len(mask), generator=generator(seed, number))
        if number == len(masks) - 1:
            order = torch.arange(len(mask))
        found.append(Connections.from_mask(mask[order]))
    return found


def test_units_are_as_far_apart_as_the_share_of_inputs_that_only_one_has() -> None:
    ours, theirs = layer([[0, 1], [2, 3], []], 4), layer([[1, 2], [], [0, 1]], 4)
    expected = [[2 / 3, 1, 0], [2 / 3, 1, 1], [1, 0, 1]]
    np.testing.assert_allclose(unit_distances(ours, theirs), expected)
    # The best pairs: 0 with 2, 2 with 1, and 1 with 0.
    assert nnstd([ours], [theirs]).layers == pytest.approx((2 / 9,))
    assert nnstd([ours], [theirs], "fixed").layers == pytest.approx(((2 / 3 + 1 + 1) / 3,))


def test_nothing_in_common_is_1_and_nothing_at_all_is_0() -> None:
    assert nnstd([layer([[0], [1]], 4)], [layer([[2], [3]], 4)]).total == 1
    assert nnstd([layer([[], []], 4)], [layer([[], []], 4)]).total == 0
    assert nnstd([layer([[], []], 4)], [layer([[0], [1]], 4)]).total == 1


def test_the_next_layer_is_read_in_the_order_that_the_units_were_matched_in() -> None:
    ours = [layer([[0, 1], [2, 3]], 4), layer([[0], [0, 1]], 2)]
    theirs = [layer([[2, 3], [0, 1]], 4), layer([[1], [0, 1]], 2)]
    assert nnstd(ours, theirs).layers == (0, 0)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_a_network_is_at_no_distance_from_itself_in_any_order_of_its_hidden_units(seed: int) -> None:
    shapes = [(12, 40), (9, 12), (5, 9)]
    ours = network(shapes, 0.4, seed)
    # Units with the same inputs are interchangeable for the matching, and not for the layer after them.
    distinct = all(len({tuple(row) for row in each.mask().int().tolist()}) == each.shape[0] for each in ours)
    assert nnstd(ours, ours).total == 0
    if distinct:
        assert nnstd(ours, permuted([each.mask() for each in ours], seed)).total == 0
        assert nnstd(ours, permuted([each.mask() for each in ours], seed), "fixed").total == 0


def test_channels_and_flattened_maps_are_matched_as_blocks() -> None:
    shapes = [(8, 2, 3, 3), (6, 8, 3, 3), (7, 6 * 4), (3, 7)]
    ours = network(shapes, 0.4, 1)
    theirs = permuted([each.mask() for each in ours], 5)
    assert [each.hash() for each in ours] != [each.hash() for each in theirs]
    assert nnstd(ours, theirs).layers == (0, 0, 0, 0)


@given(SEEDS, SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_distance_of_a_layer_is_symmetric_and_a_share(one: int, other: int) -> None:
    ours, theirs = network([(10, 15)], 0.3, one), network([(10, 15)], 0.2, other + 20_000)
    there, back = nnstd(ours, theirs).total, nnstd(theirs, ours).total
    assert there == pytest.approx(back)
    assert 0 < there <= 1


@pytest.mark.parametrize(
    ("density", "pairwise", "matched"),
    [(0.05, 0.974, 0.71), (0.1, 0.947, 0.77), (0.2, 0.889, 0.73), (0.5, 0.667, 0.53)],
)
def test_independent_random_layers_are_as_far_apart_as_published(
    density: float, pairwise: float, matched: float
) -> None:
    far, found = [], []
    for seed in range(8):
        # Each connection by itself, as the numbers were computed.
        ours, theirs = (
            Connections.from_mask(torch.rand(64, 64, generator=generator(seed, side)) < density) for side in (0, 1)
        )
        far.append(unit_distances(ours, theirs).mean())
        found.append(nnstd([ours], [theirs]).total)
    assert pairwise == pytest.approx(1 - density / (2 - density), abs=0.001)
    assert np.mean(far) == pytest.approx(pairwise, abs=0.01)
    assert np.mean(found) == pytest.approx(matched, abs=0.02)


def test_a_huge_layer_takes_memory_for_its_connections_alone() -> None:
    ours, theirs = network([(3, 10**9)], 1e-7, 0), network([(3, 10**9)], 1e-7, 1)
    assert nnstd(ours, theirs).total == pytest.approx(1)


def test_networks_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\(2, 4\)\] and \[\(2, 5\)\] cannot be compared"):
        nnstd([layer([[0], [1]], 4)], [layer([[0], [1]], 5)])
    with pytest.raises(ValueError, match=r"\(2, 5\) does not take the 3 units"):
        nnstd(*[[layer([[0]] * 3, 4), layer([[0]] * 2, 5)]] * 2)
