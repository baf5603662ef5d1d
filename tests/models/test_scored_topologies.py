"""Topologies that score first weights: each score against its definition, and what is kept by it."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_problem import IMAGE, classes_in_space
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.functional import hessian
from torch.func import functional_call
from untrained_problem import CONVOLUTIONAL, PERCEPTRON, seen, shapes

from models.data.samples import Samples
from models.gradient_flow import probing
from models.networks import MLP, VGG
from models.placement import allocate
from models.seeds import generator
from models.topologies import OBD, SNIP, GraSP, Magnitude, Scoring, SynFlow
from models.topologies.scoring import AcrossLayers, WithinLayers
from models.topologies.synflow import positive, scores
from models.untrained import Untrained

SCORING = [Magnitude(), SNIP(samples=20), GraSP(per_class=5), SynFlow(rounds=20), OBD(samples=10)]
scoring = pytest.mark.parametrize("topology", SCORING, ids=lambda topology: topology.kind)
SMOOTH = MLP(widths=(4, 3), activation="silu")


def in_double(network: Untrained) -> Untrained:
    module = network.build().double()
    train = Samples(network.train.x.double(), network.train.y)
    return replace(network, train=train, build=lambda: module)


def loss_with(network: Untrained, batch: Samples, weights: dict[str, Tensor], temperature: float = 1.0) -> Tensor:
    with probing(network.dense):
        return network.loss(functional_call(network.dense, weights, (batch.x,)) / temperature, batch.y)


def named_weights(network: Untrained) -> dict[str, Tensor]:
    return {
        f"{layer.name}.stored.dense": weight.detach()
        for layer, weight in zip(network.layers, network.weights(network.dense), strict=True)
    }


@pytest.mark.parametrize(
    "shape", [SMOOTH, VGG(channels=(3,), widths=(), activation="silu", batch_norm=True)], ids=["mlp", "vgg"]
)
def test_snip_is_the_slope_of_the_loss_along_each_connection(shape: MLP | VGG) -> None:
    network = in_double(seen(shape, classes_in_space(IMAGE if shape.kind == "vgg" else (5,))))
    batch = SNIP(samples=30).batch(network.train, generator(0))
    found = SNIP().scores(network, batch)
    step = 1e-5
    for name, weight, score in zip(named_weights(network), network.weights(network.dense), found, strict=True):
        for position in range(0, weight.numel(), 7):
            losses = []
            for sign in (1, -1):
                scaled = weight.detach().clone()
                scaled.view(-1)[position] *= 1 + sign * step
                losses.append(loss_with(network, batch, {name: scaled}).item())
            slope = (losses[0] - losses[1]) / (2 * step)
            assert float(score[position]) == pytest.approx(abs(slope), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    "shape",
    # What leaves a layer of one unit lies as if its batch were innermost.
    [SMOOTH, MLP(widths=(1, 3), activation="silu", batch_norm=True), MLP(widths=(3, 1), activation="sigmoid")],
    ids=["smooth", "narrow", "narrow at the end"],
)
def test_grasp_is_the_weight_times_the_product_of_explicit_hessian_and_gradient(shape: MLP) -> None:
    network = in_double(seen(shape, classes_in_space((5,))))
    topology = GraSP(per_class=5, temperature=3.0)
    batch = topology.batch(network.train, generator(0))
    found = torch.cat(topology.scores(network, batch))
    halves = [batch.at(torch.arange(15)[:7]), batch.at(torch.arange(15)[7:])]
    parts = named_weights(network)
    sizes = [part.numel() for part in parts.values()]

    def loss(flat: Tensor) -> Tensor:
        pieces = zip(parts, flat.split(sizes), parts.values(), strict=True)
        weights = {name: piece.view_as(like) for name, piece, like in pieces}
        return sum((loss_with(network, half, weights, 3.0) for half in halves), torch.zeros((), dtype=torch.float64))

    flat = torch.cat([part.flatten() for part in parts.values()])
    gradient = torch.func.grad(loss)(flat)
    expected = flat * (hessian(loss, flat) @ gradient)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-14)


def test_grasp_keeps_what_the_gradient_flow_would_lose_most_without() -> None:
    """Its score is, to first order, half the flow |g|² that goes when a connection is removed."""
    network = in_double(seen(MLP(widths=(6,), activation="silu"), classes_in_space((5,))))
    topology = GraSP(per_class=10, temperature=1.0)
    batch = topology.batch(network.train, generator(0))
    found = torch.cat(topology.scores(network, batch))
    parts, share = named_weights(network), 1e-5

    def flow(weights: dict[str, Tensor]) -> float:
        halves = [batch.at(torch.arange(15)), batch.at(torch.arange(15, 30))]
        total = lambda given: sum(loss_with(network, half, given) for half in halves)  # noqa: E731
        return sum(float(g.detach().square().sum()) for g in torch.func.grad(total)(weights).values())

    for position in (0, 11, 29, 40):
        changed = {name: part.clone() for name, part in parts.items()}
        name, inner = ("fc1.stored.dense", position) if position < 30 else ("output.stored.dense", position - 30)
        changed[name].view(-1)[inner] *= 1 - share
        lost = (flow(parts) - flow(changed)) / (2 * share)
        assert float(found[position]) == pytest.approx(lost, rel=1e-3, abs=1e-7)


class Opaque(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        return 2 * dy


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Opaque.apply(x)  # type: ignore[no-untyped-call, no-any-return]


def test_grasp_refuses_a_network_without_a_second_derivative() -> None:
    network = seen(PERCEPTRON)
    module = network.build()
    module.add_module("doubled", Doubled())
    with pytest.raises(ValueError, match="grasp needs a second derivative"):
        GraSP(per_class=5)(replace(network, build=lambda: module), [20, 20, 20], generator(0))


def test_the_batch_of_grasp_has_as_many_of_each_class() -> None:
    train = classes_in_space().train
    batch = GraSP(per_class=7).batch(train, generator(0))
    assert torch.bincount(batch.y).tolist() == [7, 7, 7]
    assert len({tuple(row) for row in batch.x.tolist()}) == 21
    assert torch.bincount(batch.y[:10], minlength=3).min() > 0
    with pytest.raises(ValueError, match="per_class: 70 is not allowed; class 0 has"):
        GraSP(per_class=70).batch(train, generator(0))


@pytest.mark.parametrize("topology", [SNIP(samples=91), OBD(samples=91)], ids=lambda topology: topology.kind)
def test_more_samples_than_there_are_are_refused(topology: Scoring) -> None:
    with pytest.raises(ValueError, match="samples: 91 is not allowed; there are 90 to train on"):
        topology.batch(classes_in_space().train, generator(0))


def test_obd_is_half_the_squared_weight_times_the_mean_of_squared_gradients() -> None:
    network = in_double(seen(SMOOTH, classes_in_space((5,))))
    batch = OBD(samples=12).batch(network.train, generator(0))
    squares = [torch.zeros_like(weight) for weight in network.weights(network.dense)]
    for n in range(12):
        one = batch.at(torch.tensor([n]))
        gradients = torch.func.grad(lambda weights, one=one: loss_with(network, one, weights))(named_weights(network))
        squares = [square + gradient.square() for square, gradient in zip(squares, gradients.values(), strict=True)]
    for found, square, weight in zip(
        OBD().scores(network, batch), squares, network.weights(network.dense), strict=True
    ):
        torch.testing.assert_close(found, (square / 12 * weight.detach().square() / 2).flatten())
    assert network.dense.training


@pytest.mark.parametrize(
    "shape",
    [
        PERCEPTRON,
        CONVOLUTIONAL,
        MLP(widths=(9, 8), activation="sigmoid", dropout=0.5),
        VGG(channels=(4, 5), activation="prelu"),
    ],
    ids=["mlp", "vgg", "sigmoid", "prelu"],
)
def test_synflow_is_conserved_from_layer_to_layer(shape: MLP | VGG) -> None:
    network = seen(shape)
    flow = positive(network.build())
    inputs = torch.ones(1, *network.train.x.shape[1:], dtype=torch.float64)
    found = scores(flow, network.weights(flow), inputs)
    total = float(flow(inputs).sum().detach())
    assert [float(score.sum()) for score in found] == pytest.approx([total] * len(found), rel=1e-4)
    assert all(score.dtype is torch.float64 for score in found)


def test_synflow_of_a_perceptron_is_the_product_of_absolute_weights() -> None:
    network = seen(MLP(widths=(4,)))
    first, second = (weight.detach().double().abs() for weight in network.weights(network.dense))
    flow = positive(network.build())
    found = scores(flow, network.weights(flow), torch.ones(1, 12, dtype=torch.float64))
    torch.testing.assert_close(found[0], (second.sum(0)[:, None] * first).flatten())
    torch.testing.assert_close(found[1], (second * first.sum(1)).flatten())


@pytest.mark.parametrize("shape", [MLP(widths=(60, 40, 40)), VGG(channels=(16, 16), widths=(30,))], ids=["mlp", "vgg"])
def test_synflow_never_cuts_a_layer_through_where_others_do(shape: MLP | VGG) -> None:
    split = classes_in_space((400,) if shape.kind == "mlp" else IMAGE)
    sizes = [layer.total for layer in shape.layers(split.input_shape, split.classes)]
    total = round(0.001 * sum(sizes))
    kept = allocate(SynFlow(), shape, total, "cross_entropy", split, seed=0)
    assert sum(kept) == total
    assert min(kept) > 0
    by_magnitude = allocate(Magnitude(), shape, total, "cross_entropy", split, seed=0)
    assert sum(by_magnitude) == total
    in_one_round = allocate(SynFlow(rounds=1), shape, total, "cross_entropy", split, seed=0)
    assert min(by_magnitude) == 0 or min(in_one_round) == 0


def test_what_synflow_has_removed_stays_removed() -> None:
    network = seen(PERCEPTRON)
    seen_counts = []

    def select(given: list[Tensor], progress: float = 1.0) -> list:  # type: ignore[type-arg]
        kept = AcrossLayers(network.layers, 30)(given, progress)
        seen_counts.append(sum(int((score > -torch.inf).sum()) for score in given))
        for score, active in zip(given, kept, strict=True):
            assert bool((score[active.positions] > -torch.inf).all())
        return kept

    SynFlow(rounds=10).choose(network, select, generator(0))
    total = sum(layer.total for layer in network.layers)
    assert seen_counts == [round(total * (30 / total) ** (k / 10)) for k in range(10)]


@scoring
def test_scoring_leaves_the_network_and_its_statistics_as_they_were(topology: Scoring) -> None:
    network = seen(replace(CONVOLUTIONAL, dropout=0.3))
    before = copy.deepcopy({name: value.clone() for name, value in network.dense.state_dict().items()})
    topology(network, [layer.total // 2 for layer in network.layers], generator(0))
    after = network.dense.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(parameter.grad is None for parameter in network.dense.parameters())
    assert all(module.training for module in network.dense.modules())


@scoring
def test_within_layers_and_across_layers_keep_the_highest_of_the_same_scores(topology: Scoring) -> None:
    network = seen(PERCEPTRON)
    counts = topology.allocate(network, 100, generator(0))
    assert sum(counts) == 100
    if not isinstance(topology, SynFlow):  # its rounds take other ways to the same counts
        across = topology.choose(network, AcrossLayers(network.layers, 100), generator(0))
        within = topology(network, counts, generator(0))
        assert [each.hash() for each in within] == [each.hash() for each in across]


def test_magnitude_keeps_the_largest_and_ties_go_to_the_lower_position() -> None:
    network = seen(MLP(widths=(2,)), classes_in_space((3,)))
    with torch.no_grad():
        network.weights(network.dense)[0].copy_(torch.tensor([[1.0, -3.0, 2.0], [-2.0, 2.0, 0.5]]))
    assert Magnitude()(network, (2, 6), generator(0))[0].positions.tolist() == [1, 2]
    assert Magnitude()(network, (4, 6), generator(0))[0].positions.tolist() == [1, 2, 3, 4]


def test_across_layers_ties_go_to_the_earlier_layer() -> None:
    layers = shapes((2, 2), (1, 3))
    kept = AcrossLayers(layers, 4)([torch.tensor([1.0, 5.0, 1.0, 0.0]), torch.tensor([1.0, 4.0, 1.0])])
    assert [each.positions.tolist() for each in kept] == [[0, 1, 2], [1]]
    with pytest.raises(ValueError, match="8 is not allowed"):
        AcrossLayers(layers, 8)([torch.zeros(4), torch.zeros(3)])


def test_counts_fall_by_equal_factors_and_end_exactly() -> None:
    layers = shapes((10, 10), (4, 4))
    select = WithinLayers(layers, (1, 4))
    scores_of = [torch.arange(100.0), torch.arange(16.0)]
    found = [[each.nnz for each in select(scores_of, progress)] for progress in (0.0, 0.5, 1.0)]
    assert found == [[100, 16], [10, 8], [1, 4]]


@scoring
def test_an_allocation_counts_the_layers_kept_dense_and_leaves_them_full(topology: Scoring) -> None:
    network = MLP(widths=(16, 10), keep_dense=("fc2",))
    counts = allocate(topology, network, 200, "cross_entropy", classes_in_space(), seed=0)
    assert counts[1] == 160
    assert sum(counts) == 200
    with pytest.raises(ValueError, match="is not allowed"):
        allocate(topology, network, 159, "cross_entropy", classes_in_space(), seed=0)


def test_where_no_gradient_flows_the_lower_positions_stay() -> None:
    network = seen(PERCEPTRON, topology=SNIP())
    with torch.no_grad():
        for weight in network.weights(network.dense):
            weight.zero_()
    placed = SNIP(samples=10)(network, (10, 10, 10), generator(0))
    assert [each.positions.tolist() for each in placed] == [list(range(10))] * 3
