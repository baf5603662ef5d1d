"""SET that removes hidden neurons: who goes, what goes with them, and that nothing of them is missed."""

import math
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problem import IMAGE, begin, classes_in_space, measured, same_state
from torch import Tensor, nn

from models import checkpoint, optimizers
from models.compaction import compact, leading_on
from models.connections import Connections, random_connections
from models.data.samples import Samples, Split
from models.layers import SparseLayer, SparseLinear, sparse_layers
from models.networks import MLP, VGG
from models.recipe import Training
from models.rewiring import SET, Moment, NeuronSET
from models.rewiring.neurons import Block, hidden_layers, strength_in, strength_out
from models.seeds import generator
from models.training import Run

BUDGETS = pytest.mark.parametrize("budget", ["constant", "shrink"])
EIGHT = Training(epochs=8, batch_size=16, optimizer=optimizers.SGD(lr=0.1))


def trained(rewiring: NeuronSET, network: Any = None, density: float = 0.15, training: Training = EIGHT) -> Run:
    run = begin(network or MLP(widths=(40, 20)), rewiring=rewiring, density=density, training=training)
    list(run.train())
    return run


def living(run: Run) -> list[int]:
    return [int(neurons.sum()) for neurons in run.rewiring_state.neurons]


def touched(layer: SparseLayer) -> tuple[Tensor, Tensor]:
    """bool [out] and [in]: neurons with a connection in this layer."""
    mask = layer.connections.mask()
    return mask.any(1), mask.any(0)


@BUDGETS
def test_a_removed_neuron_has_no_connection_and_no_say(budget: Any) -> None:
    run = trained(NeuronSET(budget=budget))
    layers = list(run.layers.values())
    assert living(run) == [20, 10, 3]
    for number in (0, 1):
        dead = ~run.rewiring_state.neurons[number]
        assert not (touched(layers[number])[0] & dead).any()
        assert not (touched(layers[number + 1])[1] & dead).any()
    network, x = run.network.eval(), run.split.train.x
    outputs = network(x)
    hidden = network[0](x)[:, ~run.rewiring_state.neurons[0]]
    assert (hidden == hidden[0]).all()
    with torch.no_grad():
        layers[0].bias[~run.rewiring_state.neurons[0]] = 100.0
    assert torch.equal(network(x), outputs)
    network(x).sum().backward()
    assert not layers[0].bias.grad[~run.rewiring_state.neurons[0]].any()


def test_the_budget_is_kept_among_the_living_or_shrinks_with_them() -> None:
    constant, shrunk = trained(NeuronSET()), trained(NeuronSET(budget="shrink"))
    assert {report.nnz for report in constant.reports} == {constant.plan.counts}
    for before, after in pairwise(shrunk.reports):
        assert all(one >= other for one, other in zip(before.nnz, after.nnz, strict=True))
    assert all(left < asked for left, asked in zip(shrunk.reports[-1].nnz, shrunk.plan.counts, strict=True))
    assert shrunk.reports[-1].nnz == tuple(layer.count_active() for layer in shrunk.layers.values())
    assert shrunk.rewiring_state.counts == shrunk.reports[-1].nnz


@BUDGETS
def test_neurons_go_epoch_by_epoch_until_most_are_gone_and_none_returns(budget: Any) -> None:
    training = Training(epochs=10, batch_size=16)
    run = begin(
        MLP(widths=(50, 30)), rewiring=NeuronSET(begin=0.2, interval=2, budget=budget), density=0.1, training=training
    )
    counts, seen = [], [run.rewiring_state.neurons]
    for _ in run.train():
        counts.append(living(run)[:2])
        seen.append(run.rewiring_state.neurons)
    # A fifth of those alive at each time: .8, .64, .512, then no more than half; a fifth of all would stall at .8.
    assert counts == [[50, 30], [50, 30], *[[40, 24]] * 2, *[[32, 19]] * 2, *[[25, 15]] * 4]
    for earlier, later in pairwise(seen):
        assert not any((after & ~before).any() for before, after in zip(earlier, later, strict=True))


def test_the_weakest_of_the_living_go_and_ties_go_to_the_lower_neuron() -> None:
    layers = [SparseLinear(3, 5), SparseLinear(5, 2)]
    layers[0].assign(torch.tensor([[1.0, 0, 0], [-3, 1, 0], [1, 1, 0], [-1, 0, 0], [0, 0, 9]]).flatten())
    layers[1].assign(torch.tensor([[9.0, 0, 0, 0, 0], [0, 0, 0, -0.5, 0]]).flatten())
    assert strength_in(layers[0]).tolist() == [1, 4, 2, 1, 9]
    assert strength_out(layers[1]).tolist() == [9, 0, 0, 0.5, 0]
    moment = Moment(10, 100, 1, 10, ends_epoch=True)

    def left(importance: Any, at_once: float) -> list[int]:
        rewiring = NeuronSET(begin=0.0, at_once=at_once, most=0.9, importance=importance, budget="shrink")
        state, _ = rewiring(rewiring.start(layers), layers, moment, generator(0))
        return list(state.neurons[0].nonzero().flatten().tolist())

    assert left("in", 0.2) == [0, 1, 2, 4]
    assert left("in", 0.4) == [1, 2, 4]
    assert left("in_and_out", 0.2) == [0, 1, 2, 4]
    assert left("in_and_out", 0.6) == [0, 4]
    assert left("in", 1.0) == [4]  # of five at most four


@settings(max_examples=40, deadline=None)
@given(st.floats(0.02, 1.0), st.floats(0.05, 1.0), st.floats(0.1, 0.99), st.integers(0, 1000))
def test_a_constant_budget_always_finds_its_places(density: float, at_once: float, most: float, seed: int) -> None:
    sizes, stream = (9, 12, 7, 5), generator(seed)
    layers = [
        SparseLinear(a, b, connections=random_connections((b, a), max(1, round(density * a * b)), stream))
        for a, b in pairwise(sizes)
    ]
    rewiring = NeuronSET(begin=0.0, at_once=at_once, most=most)
    state = rewiring.start(layers)
    for epoch in range(1, 5):
        counts = [layer.connections.nnz for layer in layers]
        moment = Moment(epoch, 9, epoch, 9, ends_epoch=True)
        state, rewired = rewiring(state, layers, moment, stream)
        for layer, after, before in zip(layers, rewired, counts, strict=True):
            if after is not None:
                layer.rewire(after)
            assert layer.count_active() == before
        for number, size in enumerate(sizes[1:-1]):
            assert size - math.floor(most * size + 1e-9) <= int(state.neurons[number].sum())


def test_before_the_first_neuron_goes_it_is_set_bit_for_bit() -> None:
    runs = [
        begin(rewiring=rewiring, training=Training(epochs=4, batch_size=16))
        for rewiring in (SET(), NeuronSET(begin=0.8))
    ]
    for run in runs:
        list(run.train())
    assert measured(runs[0]) == measured(runs[1])
    assert same_state(*runs)


def test_connections_grow_uniformly_among_living_neurons_alone() -> None:
    rows, columns = torch.tensor([1, 0, 1, 1]).bool(), torch.tensor([0, 1, 1, 0, 1]).bool()
    block = Block(rows, columns)
    alive = (rows[:, None] & columns).flatten()
    kept = Connections((4, 5), torch.tensor([1, 12, 19]))
    assert block.total == 9
    assert block.holds(Connections.full((4, 5))).equal(alive)
    assert block.holds(kept).all()
    hits, stream = torch.zeros(20), generator(1)
    for _ in range(2000):
        drawn = block.sample_absent(kept, 2, stream)
        assert drawn[0] < drawn[1]
        hits[drawn] += 1
    alive[kept.positions] = False
    assert not hits[~alive].any()
    assert hits[alive].numpy() == pytest.approx(2000 * 2 / 6, rel=0.1)
    assert block.sample_absent(kept, 6, stream).equal(alive.nonzero().flatten())


@BUDGETS
def test_a_run_resumed_between_two_removals_ends_as_if_never_stopped(budget: Any, tmp_path: Path) -> None:
    whole, half = (
        begin(MLP(widths=(40, 20)), rewiring=NeuronSET(budget=budget), density=0.15, training=EIGHT) for _ in "ab"
    )
    list(whole.train())
    list(islice(half.train(), 3))
    checkpoint.save(half, tmp_path / "half")
    resumed = checkpoint.load(tmp_path / "half", half.split)
    assert all(map(torch.equal, resumed.rewiring_state.neurons, half.rewiring_state.neurons))
    list(resumed.train())
    assert measured(whole) == measured(resumed)
    assert living(whole) == living(resumed)
    checkpoint.save(whole, tmp_path / "whole")
    checkpoint.save(resumed, tmp_path / "resumed")
    assert same_state(*(checkpoint.load(tmp_path / name, half.split) for name in ("whole", "resumed")))


@BUDGETS
def test_both_storages_remove_the_same_neurons_and_connections(budget: Any) -> None:
    runs = []
    for storage in ("masked", "compressed"):
        split = classes_in_space(train=50)
        parts = [Samples(part.x.double(), part.y) for part in (split.train, split.held_out)]
        double = Split(*parts, split.classes, split.input_shape)
        run = begin(MLP(widths=(40, 20)), double, 0.2, NeuronSET(budget=budget), training=EIGHT, storage=storage)
        run.network.double()
        list(run.train())
        runs.append(run)
    assert all(map(torch.equal, *(run.rewiring_state.neurons for run in runs)))
    for ours, theirs in zip(*(run.layers.values() for run in runs), strict=True):
        assert ours.connections.hash() == theirs.connections.hash()


def test_only_fully_connected_layers_between_two_have_hidden_neurons() -> None:
    run = begin(VGG(channels=(4, "pool"), widths=(20, 12)), classes_in_space(IMAGE), rewiring=NeuronSET(), density=0.1)
    assert hidden_layers([layer.connections.shape for layer in run.layers.values()]) == [1, 2]
    list(run.train())
    assert living(run)[0] == 4
    assert living(run)[1] < 20
    assert hidden_layers([(4, 2, 3, 3), (3, 64)]) == hidden_layers([(5, 4)]) == []


@pytest.mark.parametrize("activation", ["relu", "srelu", "prelu", "sigmoid"])
@pytest.mark.parametrize("batch_norm", [False, True])
@BUDGETS
def test_a_compacted_network_answers_alike_and_has_no_dead_neuron(
    activation: Any, batch_norm: bool, budget: Any
) -> None:
    network = MLP(widths=(40, 20), activation=activation, batch_norm=batch_norm, dropout=0.2)
    run = trained(NeuronSET(budget=budget), network)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    smaller = compact(run.network).eval()
    x = run.split.held_out.x
    torch.testing.assert_close(smaller(x), run.network.eval()(x), rtol=1e-5, atol=1e-5)
    sizes = [layer.connections.shape[0] for layer in sparse_layers(smaller).values()]
    assert sizes[-1] == 3
    assert all(size <= left for size, left in zip(sizes, living(run), strict=True))
    for layer in list(sparse_layers(smaller).values())[1:]:
        assert touched(layer)[1].all()
    assert all(torch.equal(value, before[name]) for name, value in run.network.state_dict().items())


def test_a_compacted_convolutional_network_answers_alike() -> None:
    run = begin(VGG(channels=(4, "pool"), widths=(20, 12)), classes_in_space(IMAGE), rewiring=NeuronSET(), density=0.1)
    list(run.train())
    smaller, x = compact(run.network).eval(), run.split.held_out.x
    torch.testing.assert_close(smaller(x), run.network.eval()(x), rtol=1e-5, atol=1e-5)
    assert sparse_layers(smaller)["conv1"].connections.hash() == run.layers["conv1"].connections.hash()
    assert sparse_layers(smaller)["fc1"].connections.shape[0] < 20


def test_a_dense_network_is_compact_already_and_an_empty_one_keeps_a_neuron_in_each_layer() -> None:
    dense = begin(density=1.0, rewiring=SET())
    assert [len(each) for each in leading_on([layer.connections for layer in dense.layers.values()])] == [16, 10, 3]
    torch.testing.assert_close(compact(dense.network)(dense.split.train.x), dense.network(dense.split.train.x))
    empty = begin(rewiring=SET(fraction=1.0, last_epoch="prune_only"))
    list(empty.train())
    smaller = compact(empty.network)
    assert [layer.connections.shape for layer in sparse_layers(smaller).values()] == [(1, 12), (1, 1), (3, 1)]
    assert torch.equal(smaller(empty.split.train.x), empty.network(empty.split.train.x))


def test_what_cannot_be_compacted_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="network: Linear is not allowed; it must be a Sequential"):
        compact(nn.Linear(2, 2))
    stack = nn.Sequential(SparseLinear(4, 6, density=0.5), nn.LayerNorm(6), SparseLinear(6, 2, density=0.2))
    with pytest.raises(TypeError, match="1: LayerNorm is not allowed"):
        compact(stack)
