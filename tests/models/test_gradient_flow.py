import copy
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_problem import IMAGE, begin, classes_in_space
from torch import nn

from models.connections import Connections
from models.gradient_flow import effective_gradient_flow, probing
from models.layers import SparseLinear, sparse_layers
from models.networks import MLP, VGG
from models.optimizers import SGD
from models.probe import PART, Probe, measured_epochs, probe
from models.recipe import Training
from models.seeds import generator


class Toy(nn.Module):
    """Layers of 3 and 2 weights whose gradients are given: g_1 = (3, 4, 7) masked by (1, 1, 0), g_2 = (0, 12)."""

    def __init__(self) -> None:
        super().__init__()
        active = Connections((1, 3), torch.tensor([0, 1]))
        self.first = SparseLinear(3, 1, connections=active, storage="masked", generator=generator(0))
        self.second = SparseLinear(2, 1, storage="masked", generator=generator(0))

    def loss(self) -> torch.Tensor:
        return (self.first(torch.tensor([3.0, 4.0, 7.0])) + self.second(torch.tensor([0.0, 12.0]))).sum()


def trained(**network: Any) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    split = classes_in_space()
    run = begin(MLP(widths=(16, 10), **network), split, density=0.3, storage="masked")
    list(run.train())
    return run.network, split.train.x, split.train.y


def mean_loss(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(network(x), y)


def masked_gradients(network: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    """g ⊙ m of each layer, from ordinary backward passes and the layers' masks."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    layers = sparse_layers(network).values()
    return [layer.parameter.grad.double() * layer.connections.mask() for layer in layers]


def test_the_toy_vector() -> None:
    toy = Toy()
    assert effective_gradient_flow(toy, toy.loss(), 1) == pytest.approx(9.5)
    assert effective_gradient_flow(toy, toy.loss(), 2) == pytest.approx(8.5)
    assert effective_gradient_flow(toy, toy.loss(), 1, normalize_by_active=True) == pytest.approx((7 / 2 + 12 / 2) / 2)
    gradients = masked_gradients(toy, toy.loss())
    assert sum(g.abs().sum() for g in gradients) == pytest.approx(19)
    assert sum(g.square().sum() for g in gradients) ** 0.5 == pytest.approx(13)


def test_on_a_trained_net_egf_1_is_the_masked_norm_over_the_number_of_layers() -> None:
    network, x, y = trained()
    loss = mean_loss(network, x, y)
    gradients = masked_gradients(network, loss)
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    assert effective_gradient_flow(network, loss, 1) == pytest.approx(whole.norm(1).item() / 3, rel=1e-12)
    egf_2 = effective_gradient_flow(network, loss, 2)
    assert whole.norm(2) / 3 <= egf_2 <= whole.norm(2) / 3**0.5


@pytest.mark.parametrize("p", [1, 2])
def test_it_scales_with_the_loss(p: Literal[1, 2]) -> None:
    network, x, y = trained()
    once = effective_gradient_flow(network, mean_loss(network, x, y), p)
    assert once > 0
    assert effective_gradient_flow(network, 4 * mean_loss(network, x, y), p) == pytest.approx(4 * once, rel=1e-6)


@pytest.mark.parametrize("p", [1, 2])
def test_noise_in_absent_weights_does_not_show(p: Literal[1, 2]) -> None:
    network, x, y = trained()
    before = effective_gradient_flow(network, mean_loss(network, x, y), p)
    with torch.no_grad():
        for layer in sparse_layers(network).values():
            layer.parameter.add_(100 * torch.randn(layer.parameter.shape) * ~layer.connections.mask())
    assert effective_gradient_flow(network, mean_loss(network, x, y), p) == before


def test_it_is_the_slope_along_the_active_gradient() -> None:
    network, x, y = trained(activation="silu")
    network.double()
    for layer in sparse_layers(network).values():
        layer.assign(layer.values.detach().double())
    x = x.double()
    gradients = masked_gradients(network, mean_loss(network, x, y))
    norms, step = [], 1e-6
    for layer, gradient in zip(sparse_layers(network).values(), gradients, strict=True):
        direction, ends = gradient / gradient.norm(), []
        for sign in (1, -1):
            moved = copy.deepcopy(network)
            twin = sparse_layers(moved)[next(name for name, each in sparse_layers(network).items() if each is layer)]
            with torch.no_grad():
                twin.parameter.add_(sign * step * direction)
            ends.append(mean_loss(moved, x, y).item())
        norms.append((ends[0] - ends[1]) / (2 * step))
    assert effective_gradient_flow(network, mean_loss(network, x, y), 2) == pytest.approx(sum(norms) / 3, rel=1e-5)


def test_biases_and_norms_are_no_layers_of_it() -> None:
    network = begin(MLP(widths=(16, 10), batch_norm=True), storage="masked").network
    split = classes_in_space()
    loss = mean_loss(network, split.train.x, split.train.y)
    expected = sum(gradient.norm().item() for gradient in masked_gradients(network, loss)) / 3
    assert effective_gradient_flow(network, loss, 2) == pytest.approx(expected)


def test_the_graph_is_kept_for_a_backward_pass() -> None:
    network, x, y = trained()
    loss = mean_loss(network, x, y)
    effective_gradient_flow(network, loss, 1)
    loss.backward()


def test_a_model_without_sparse_layers_is_refused() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="sparse layers"):
        effective_gradient_flow(model, model(torch.ones(2)).sum(), 1)


def test_probing_normalises_by_the_batch_and_leaves_every_statistic_and_mode() -> None:
    network = begin(
        VGG(channels=(4, "pool"), widths=(6,), dropout=0.5), classes_in_space(IMAGE), training=Training(epochs=1)
    ).network
    network.eval()
    x = torch.randn(9, *IMAGE) + 3
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dropout = next(module.generator for module in network.modules() if hasattr(module, "generator"))
    state = dropout.get_state()
    by_statistics = network(x)
    with probing(network):
        by_batch = network(x)
        assert torch.equal(by_batch, network(x))
    assert not torch.allclose(by_batch, by_statistics)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(dropout.get_state(), state)
    assert not any(module.training for module in network.modules())
    assert torch.equal(network(x), by_statistics)


def test_a_training_measures_on_its_probe_as_the_public_function_does() -> None:
    run = begin(MLP(widths=(16, 10), batch_norm=True, dropout=0.3))
    list(run.train())
    probed = run._probe.samples
    with probing(run.network):
        loss = mean_loss(run.network, probed.x, probed.y)
        found = (effective_gradient_flow(run.network, loss, 1), effective_gradient_flow(run.network, loss, 2))
    assert (run.reports[-1].egf_1, run.reports[-1].egf_2) == found


def test_a_probe_taken_in_parts_is_measured_as_a_whole() -> None:
    run = begin(MLP(widths=(16, 10)), classes_in_space(train=700))
    sampled = run.split.train.at(torch.arange(2 * PART + 7))
    measured = Probe(sampled, frozenset()).measure(run.network, run.loss, 0)
    with probing(run.network):
        loss = mean_loss(run.network, sampled.x, sampled.y)
        found = (effective_gradient_flow(run.network, loss, 1), effective_gradient_flow(run.network, loss, 2))
    assert (measured.egf_1, measured.egf_2) == pytest.approx(found, rel=1e-5)


def test_measuring_does_not_change_the_training() -> None:
    runs = [begin(MLP(widths=(16, 10), batch_norm=True, dropout=0.3)) for _ in range(2)]
    runs[1]._probe = type(runs[1]._probe)(runs[1]._probe.samples, frozenset())
    for run in runs:
        list(run.train())
    assert [report.loss for report in runs[0].reports] == [report.loss for report in runs[1].reports]


def test_eleven_measures_are_spread_over_a_training() -> None:
    assert measured_epochs(500) == set(range(0, 501, 50))
    assert measured_epochs(10) == set(range(11))
    assert sorted(measured_epochs(15)) == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15]
    assert measured_epochs(3) == {0, 1, 2, 3}


@given(st.integers(10, 10_000))
def test_long_trainings_measure_eleven_times_from_start_to_end(epochs: int) -> None:
    assert len(measured_epochs(epochs)) == 11
    assert {0, epochs} <= measured_epochs(epochs)


@given(st.integers(1, 70_000), st.integers(1, 60), st.integers(1, 512))
def test_the_probe_is_small_beside_the_training(samples: int, epochs: int, batch_size: int) -> None:
    train = type(classes_in_space().train)(torch.zeros(samples, 1), torch.zeros(samples, dtype=torch.int64))
    found = probe(train, epochs, batch_size, generator(0, "probe"))
    size = len(found.samples)
    assert size <= samples
    assert size >= min(batch_size, samples)
    assert size <= max(batch_size, 2048)
    assert size <= batch_size or size * len(found.epochs) <= 0.03 * samples * epochs


def test_reports_carry_the_measure_at_its_epochs_only() -> None:
    run = begin(training=Training(epochs=20, batch_size=32, optimizer=SGD(lr=0.1)))
    list(run.train())
    assert [report.epoch for report in run.reports if report.egf_1 is not None] == list(range(2, 21, 2))
    assert [measure.epoch for measure in run.gradient_flow] == list(range(0, 21, 2))
