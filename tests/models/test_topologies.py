"""What every topology keeps, and the random one."""

import pytest
import torch
from scipy import stats

from models.networks.shapes import LayerShape
from models.seeds import generator
from models.topologies import AnyTopology, Random, Topology
from models.types import kind_of, members

LAYERS = (LayerShape("conv1", (4, 3, 3, 3)), LayerShape("fc1", (20, 36)), LayerShape("output", (10, 20)))
COUNTS = (40, 100, 200)

topologies = pytest.mark.parametrize("topology", [member() for member in members(AnyTopology)], ids=lambda t: t.kind)


@topologies
def test_each_layer_gets_exactly_the_connections_asked(topology: Topology) -> None:
    placed = topology(LAYERS, COUNTS, generator(0))
    assert [active.shape for active in placed] == [layer.weight for layer in LAYERS]
    assert tuple(active.nnz for active in placed) == COUNTS


@topologies
def test_the_same_stream_gives_the_same_connections_and_another_others(topology: Topology) -> None:
    one, same, other = ([active.hash() for active in topology(LAYERS, COUNTS, generator(seed))] for seed in (1, 1, 2))
    assert one == same
    assert one[0] != other[0]


@topologies
def test_more_connections_than_weights_are_refused(topology: Topology) -> None:
    with pytest.raises(ValueError, match="201 is not allowed"):
        topology(LAYERS, (40, 100, 201), generator(0))


@topologies
def test_the_count_of_layers_and_of_counts_must_agree(topology: Topology) -> None:
    with pytest.raises(ValueError, match="shorter"):
        topology(LAYERS, COUNTS[:2], generator(0))


def test_random_connections_are_uniform() -> None:
    stream = generator(4)
    hits = torch.zeros(720)
    for _ in range(600):
        hits[Random()(LAYERS[1:2], (72,), stream)[0].positions] += 1
    statistic = float(((hits - 60) ** 2 / 60).sum()) / (1 - 71 / 719)  # without replacement, see the test of samples
    assert 1e-3 < stats.chi2(719).cdf(statistic) < 1 - 1e-3


def test_kinds_are_told_apart() -> None:
    assert [kind_of(member) for member in members(AnyTopology)] == ["random"]
