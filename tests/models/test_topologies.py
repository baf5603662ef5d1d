"""What every topology keeps, and the random ones."""

from dataclasses import replace

import pytest
import torch
from scipy import stats
from small_problem import IMAGE, begin, classes_in_space, measured, same_state
from untrained_problem import CONVOLUTIONAL, PERCEPTRON, of_shapes, seen, shapes

from models import checkpoint
from models.allocation import erdos_renyi_epsilon
from models.connections import Connections
from models.networks import MLP, AnyNetwork
from models.optimizers import SGD
from models.placement import place
from models.recipe import Training
from models.rewiring import SET
from models.seeds import generator
from models.topologies import (
    OBD,
    SNIP,
    AnyTopology,
    Dictating,
    ErdosRenyi,
    Expander,
    Given,
    GraSP,
    Magnitude,
    RadixNet,
    Random,
    Scoring,
    SynFlow,
    Topology,
)
from models.training import Run, start
from models.types import StorageKind, kind_of, members

# Given has a file of its own in its tests.
ASKED = [
    Random(),
    Magnitude(),
    SNIP(samples=20),
    GraSP(per_class=8),
    GraSP(per_class=5, temperature=1.0, values="redrawn"),
    SynFlow(rounds=10),
    OBD(samples=5),
    OBD(samples=5, values="redrawn"),
]
DICTATING = [ErdosRenyi(epsilon=2), Expander(degrees=(6,))]
CONVOLUTIONAL_EXPANDER = Expander(degrees=(6, 2, 12, 6))
RADIX = RadixNet(systems=((2, 4),), widths=(2, 2, 1))
RADIX_PERCEPTRON = MLP(widths=(16, 8), keep_dense=("output",))

asked = pytest.mark.parametrize("topology", ASKED, ids=repr)
networks = pytest.mark.parametrize("network", [PERCEPTRON, CONVOLUTIONAL], ids=["mlp", "vgg"])


def thirds(network: AnyNetwork) -> list[int]:
    return [layer.total // 3 for layer in seen(network).layers]


@asked
@networks
def test_each_layer_gets_exactly_the_connections_asked(topology: Topology, network: AnyNetwork) -> None:
    found = seen(network)
    placed = topology(found, thirds(network), generator(0))
    assert [active.shape for active in placed] == [layer.weight for layer in found.layers]
    assert [active.nnz for active in placed] == thirds(network)


@pytest.mark.parametrize(
    ("topology", "network"),
    [
        *((topology, PERCEPTRON) for topology in DICTATING),
        (RADIX, RADIX_PERCEPTRON),
        (ErdosRenyi(epsilon=2), CONVOLUTIONAL),
        (CONVOLUTIONAL_EXPANDER, CONVOLUTIONAL),
    ],
    ids=repr,
)
def test_each_layer_gets_exactly_the_connections_dictated(topology: Dictating, network: AnyNetwork) -> None:
    found = seen(network)
    counts = topology.counts(found.layers, None)
    placed = topology(found, counts, generator(0))
    assert [active.shape for active in placed] == [layer.weight for layer in found.layers]
    assert tuple(active.nnz for active in placed) == counts
    with pytest.raises(ValueError, match=f"{topology.kind} dictates"):
        topology(found, (counts[0] - 1, *counts[1:]), generator(0))


@pytest.mark.parametrize("topology", [*ASKED, *DICTATING], ids=repr)
def test_the_same_stream_gives_the_same_connections_and_another_others(topology: Topology) -> None:
    found = seen(PERCEPTRON)
    counts = topology.counts(found.layers, None) if isinstance(topology, Dictating) else thirds(PERCEPTRON)

    def hashes(seed: int) -> list[str]:
        return [active.hash() for active in topology(found, counts, generator(seed))]

    assert hashes(1) == hashes(1)
    looks_at_no_chance = isinstance(topology, Magnitude | SynFlow)
    assert (hashes(1) == hashes(2)) == looks_at_no_chance


@asked
def test_more_connections_than_weights_are_refused(topology: Topology) -> None:
    too_many = seen().layers[-1].total + 1
    with pytest.raises(ValueError, match=f"{too_many} is not allowed"):
        topology(seen(), (40, 100, too_many), generator(0))


@asked
def test_the_count_of_layers_and_of_counts_must_agree(topology: Topology) -> None:
    with pytest.raises(ValueError, match="shorter"):
        topology(seen(), (10, 10), generator(0))


def run_of(topology: AnyTopology, network: AnyNetwork, storage: StorageKind, epochs: int = 2) -> Run:
    split = classes_in_space(IMAGE if network.kind == "vgg" else (12,), train=48, held_out=12)
    shapes = network.layers(split.input_shape, split.classes)
    counts = [layer.total if layer.name in network.keep_dense else layer.total // 3 for layer in shapes]
    if isinstance(topology, Dictating):
        searched = [layer for layer in shapes if layer.name not in network.keep_dense]
        found = iter(topology.counts(searched, None))
        counts = [layer.total if layer.name in network.keep_dense else next(found) for layer in shapes]
    training = Training(epochs=epochs, batch_size=16, optimizer=SGD(lr=0.05), storage=storage)
    return start(network, counts, topology, SET(), training, split, seed=3)


TRAINED = [
    *((topology, PERCEPTRON) for topology in (*ASKED, *DICTATING)),
    (RADIX, RADIX_PERCEPTRON),
    (SNIP(samples=20), replace(PERCEPTRON, keep_dense=("output",), batch_norm=True, dropout=0.2, activation="silu")),
    (SynFlow(rounds=5), CONVOLUTIONAL),
    (GraSP(per_class=4), CONVOLUTIONAL),
    (CONVOLUTIONAL_EXPANDER, CONVOLUTIONAL),
    (RadixNet(systems=((2, 2),), widths=(2, 3, 4)), replace(CONVOLUTIONAL, keep_dense=("conv1", "output"))),
]


@pytest.mark.parametrize(("topology", "network"), TRAINED, ids=repr)
def test_a_run_has_the_counts_whatever_the_storage_and_starts_from_the_same_weights(
    topology: AnyTopology, network: AnyNetwork
) -> None:
    masked, compressed = (run_of(topology, network, storage) for storage in ("masked", "compressed"))
    for ours, theirs in zip(masked.layers.values(), compressed.layers.values(), strict=True):
        assert ours.connections.hash() == theirs.connections.hash()
        assert torch.equal(ours.values, theirs.values)
    reports = list(compressed.train())
    assert all(report.nnz == compressed.plan.counts for report in reports)


@pytest.mark.parametrize(("topology", "network"), [(SNIP(samples=20), PERCEPTRON), (RADIX, RADIX_PERCEPTRON)], ids=repr)
def test_a_run_resumes_bit_for_bit(topology: AnyTopology, network: AnyNetwork, tmp_path) -> None:  # type: ignore[no-untyped-def]
    whole, half = (run_of(topology, network, "compressed", epochs=3) for _ in "ab")
    list(whole.train())
    next(half.train())
    checkpoint.save(half, tmp_path / "half")
    resumed = checkpoint.load(tmp_path / "half", half.split)
    assert resumed.plan == half.plan
    list(resumed.train())
    assert measured(resumed) == measured(whole)
    assert same_state(resumed, whole)


@pytest.mark.parametrize("topology", [topology for topology in ASKED if isinstance(topology, Scoring)], ids=repr)
def test_training_starts_from_the_weights_that_were_scored_where_they_are_kept(topology: Scoring) -> None:
    network = replace(PERCEPTRON, keep_dense=("output",))
    run = run_of(topology, network, "masked")
    dense = begin(network, run.split, density=1.0, seed=3)
    for layer, scored in zip(run.layers.values(), dense.layers.values(), strict=True):
        kept = scored.values[layer.connections.positions]
        assert torch.equal(layer.values, kept) == (topology.values == "kept")


@pytest.mark.parametrize("topology", [RADIX, SNIP(samples=10_000), Given(file="nothing.npz")], ids=repr)
def test_a_dense_network_asks_no_topology(topology: AnyTopology) -> None:
    split = classes_in_space()
    full = [layer.total for layer in PERCEPTRON.layers(split.input_shape, split.classes)]
    placed = place(topology, PERCEPTRON, full, "cross_entropy", split, seed=0)
    assert [active.nnz for active in placed.connections] == full
    assert placed.values is None


def test_a_layer_kept_dense_is_left_out_unless_it_is_asked_to_be_sparse() -> None:
    split = classes_in_space()
    network = MLP(widths=(16, 8), keep_dense=("output",))
    placed = place(Random(), network, (50, 20, 24), "cross_entropy", split, seed=0)
    assert placed.connections[2].hash() == Connections.full((3, 8)).hash()
    assert [active.nnz for active in place(Random(), network, (50, 20, 5), "mse", split, 0).connections] == [50, 20, 5]


def test_random_connections_are_uniform() -> None:
    stream = generator(4)
    hits = torch.zeros(720)
    network = of_shapes((20, 36))
    for _ in range(600):
        hits[Random()(network, (72,), stream)[0].positions] += 1
    statistic = float(((hits - 60) ** 2 / 60).sum()) / (1 - 71 / 719)  # without replacement, see the test of samples
    assert 1e-3 < stats.chi2(719).cdf(statistic) < 1 - 1e-3


def test_erdos_renyi_has_epsilon_connections_for_each_unit_and_dense_layers_where_that_is_more_than_all() -> None:
    layers = shapes((1000, 784), (1000, 1000), (10, 1000))
    assert ErdosRenyi(epsilon=13).counts(layers, None) == (13 * 1784, 13 * 2000, 10_000)
    in_the_paper = ErdosRenyi(epsilon=20).counts(layers, None)
    assert in_the_paper == (35_680, 40_000, 10_000)
    densities = erdos_renyi_epsilon(layers, 20)
    assert in_the_paper == tuple(round(density * layer.total) for density, layer in zip(densities, layers, strict=True))


def test_an_epsilon_that_leaves_a_layer_without_connections_is_refused() -> None:
    with pytest.raises(ValueError, match=r"epsilon: 0.01 is not allowed; it leaves layer2 no connection"):
        ErdosRenyi(epsilon=0.01).counts(shapes((100, 100), (10, 20)), None)


def test_kinds_are_told_apart() -> None:
    kinds = [kind_of(member) for member in members(AnyTopology)]
    assert kinds == [
        *("random", "erdos_renyi", "radix_net", "expander", "magnitude", "snip", "grasp", "synflow", "obd", "given")
    ]
