"""RadiX-Nets to the letter: Kronecker products, degrees, and the same number of paths everywhere."""

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from untrained_problem import of_shapes, shapes

from models.connections import Connections
from models.paths import path_counts
from models.seeds import generator
from models.topologies import RadixNet


def built(net: RadixNet, *weights: tuple[int, ...]) -> list[Connections]:
    network = of_shapes(*weights)
    return net(network, net.counts(network.layers, None), generator(0))


def fitting(net: RadixNet) -> list[tuple[int, int]]:
    sizes = [width * net.modulus for width in net.widths]
    return list(zip(sizes[1:], sizes[:-1], strict=True))


def by_definition(net: RadixNet) -> list[np.ndarray]:
    """W* = 1 ⊗ W, W the sum of powers of the cyclic shift, as matrices [in, out]."""
    shift = np.roll(np.eye(net.modulus, dtype=int), 1, axis=1)
    powers = []
    for system in net.systems:
        place = 1
        for radix in system:
            powers.append(sum(np.linalg.matrix_power(shift, j * place) for j in range(radix)))
            place *= radix
    ones = [np.ones((before, after), int) for before, after in zip(net.widths[:-1], net.widths[1:], strict=True)]
    return [np.kron(one, power) for one, power in zip(ones, powers, strict=True)]


systems = st.sampled_from(
    [((2, 2, 2),), ((2, 3), (3, 2)), ((6,), (2, 3), (3, 2)), ((4, 2), (8,), (2, 2)), ((5,),), ((12,), (3, 4), (2, 3))]
)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_layers_are_the_kronecker_products_with_equal_degrees_and_paths(data: st.DataObject) -> None:
    chosen = data.draw(systems)
    radices = [radix for system in chosen for radix in system]
    widths = tuple(data.draw(st.lists(st.integers(1, 3), min_size=len(radices) + 1, max_size=len(radices) + 1)))
    net = RadixNet(systems=chosen, widths=widths)
    placed = built(net, *fitting(net))
    for active, matrix in zip(placed, by_definition(net), strict=True):
        assert np.array_equal(active.mask().numpy(), matrix.T == 1)
    for n, (active, radix) in enumerate(zip(placed, radices, strict=True)):
        mask = active.mask()
        assert set(mask.sum(0).tolist()) == {radix * widths[n + 1]}
        assert set(mask.sum(1).tolist()) == {radix * widths[n]}
        assert active.density == pytest.approx(radix / net.modulus)
    paths = path_counts(placed)
    assert (paths == net.paths).all()
    assert (paths == reduce(np.matmul, by_definition(net)).T).all()


@pytest.mark.parametrize(
    ("net", "densities", "paths"),
    [
        (RadixNet(systems=((2, 2, 2),), widths=(1, 1, 1, 1)), (1 / 4, 1 / 4, 1 / 4), 1),
        (RadixNet(systems=((2, 3), (3, 2)), widths=(1, 2, 2, 2, 1)), (1 / 3, 1 / 2, 1 / 2, 1 / 3), 48),
        (RadixNet(systems=((10, 10),), widths=(8, 3, 1)), (0.1, 0.1), 3),
        (RadixNet(systems=((10, 10),), widths=(8, 30, 1)), (0.1, 0.1), 30),
    ],
)
def test_published_examples(net: RadixNet, densities: tuple[float, ...], paths: int) -> None:
    placed = built(net, *fitting(net))
    assert [active.density for active in placed] == pytest.approx(densities)
    assert (path_counts(placed) == paths).all()
    assert net.paths == paths


def test_inputs_that_do_not_fill_the_blocks_leave_out_the_first_ones_and_keep_the_paths() -> None:
    net = RadixNet(systems=((10, 10),), widths=(8, 3, 1))
    whole = built(net, (300, 800), (100, 300))
    trimmed = built(net, (300, 784), (100, 300))
    assert np.array_equal(trimmed[0].mask().numpy(), whole[0].mask().numpy()[:, 16:])
    assert trimmed[0].nnz == 784 * 30
    assert (path_counts(trimmed) == 3).all()


def test_a_link_owns_the_kernel_between_channels_and_all_positions_of_a_channel_before_a_linear_layer() -> None:
    net = RadixNet(systems=((2, 2, 2),), widths=(1, 2, 2, 1))
    placed = built(net, (16, 8, 3, 3), (16, 16, 3, 3), (8, 16 * 25))
    links = built(net, *fitting(net))
    for active, link in zip(placed[:2], links[:2], strict=True):
        assert np.array_equal(active.mask().numpy(), np.broadcast_to(link.mask()[:, :, None, None], active.shape))
    assert np.array_equal(
        placed[2].mask().view(8, 16, 25).numpy(), np.broadcast_to(links[2].mask()[:, :, None], (8, 16, 25))
    )
    assert (path_counts(placed) == net.paths).all()


def test_path_counts_beyond_64_bits_are_exact() -> None:
    net = RadixNet(systems=tuple([(2, 2)] * 40), widths=(1, *[2] * 79, 1))
    assert net.paths == 4**39 * 2**79 > 2**63
    paths = path_counts(built(net, *fitting(net)))
    assert paths.dtype == object
    assert (paths == net.paths).all()


def test_a_huge_layer_costs_what_its_connections_cost() -> None:
    net = RadixNet(systems=((1000, 1000),), widths=(1, 1, 1))
    assert net.counts(shapes((10**6, 10**6), (10**6, 10**6)), None) == (10**9, 10**9)
    thin = RadixNet(systems=((2,) * 17,), widths=(1,) * 18)
    [*_, last] = built(thin, *fitting(thin))
    assert (last.total, last.nnz) == (2**34, 2**18)


@pytest.mark.parametrize(
    ("systems", "widths", "message"),
    [
        (((2, 3), (2, 2)), (1, 1, 1, 1, 1), r"\[6, 4\] are not allowed as products"),
        (((2, 3), (2, 2), (6,)), (1, 1, 1, 1, 1, 1), r"\[6, 4, 6\] are not allowed as products"),
        (((6, 1),), (1, 1, 1), "each needs radices, all >= 2"),
        (((),), (1,), "each needs radices, all >= 2"),
        ((), (1,), "each needs radices, all >= 2"),
        (((2, 3),), (1, 1), "2 radices need 3 widths"),
        (((2, 3),), (1, 0, 1), "2 radices need 3 widths >= 1"),
    ],
)
def test_what_is_no_radix_net_is_refused(
    systems: tuple[tuple[int, ...], ...], widths: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RadixNet(systems=systems, widths=widths)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (((12, 6),), r"2 radices are not allowed; 1 layers are not kept dense \(layer1\)"),
        (((13, 6), (6, 13)), "layer1 has 13 outputs, which must be 12"),
        (((12, 7), (6, 12)), "layer1 has 7 inputs, which must be 6, or fewer by less than 6"),
        (((12, 6), (6, 24)), "layer2 has 24 inputs, which must be 12"),
        (((12, 6, 3, 3), (6, 18)), "layer2 has 18 inputs, which must be 12"),
        (((12, 6, 3, 3), (6, 24, 3, 3)), "layer2 has 24 inputs, which must be 12"),
        (((12, 3), (6, 12)), "3 of 6 left out leave a unit without any"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(weights: tuple[tuple[int, ...], ...], message: str) -> None:
    net = RadixNet(systems=((3, 2),), widths=(1, 2, 1))
    with pytest.raises(ValueError, match=message):
        net.counts(shapes(*weights), None)


def test_a_whole_block_is_never_left_out() -> None:
    net = RadixNet(systems=((3, 2),), widths=(2, 2, 1))
    assert net.counts(shapes((12, 7), (6, 12)), None)
    with pytest.raises(ValueError, match="has 6 inputs"):
        net.counts(shapes((12, 6), (6, 12)), None)


def test_no_unit_is_without_inputs_whatever_is_left_out() -> None:
    net = RadixNet(systems=((4, 4),), widths=(1, 2, 1))
    for inputs in range(1, 17):
        try:
            placed = built(net, (32, inputs), (16, 32))
        except ValueError:
            continue
        assert placed[0].mask().any(dim=1).all()
        assert placed[0].nnz == inputs * 4 * 2
        assert math.prod(path_counts(placed).shape) == inputs * 16
