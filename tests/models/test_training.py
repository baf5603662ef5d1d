import copy
import itertools
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_problem import IMAGE, begin, classes_in_space, measured, same_state
from torch import Tensor, nn
from torch.nn import functional as F

from models.batches import batch_sizes
from models.connections import Connections
from models.data.samples import Samples
from models.evaluation import BATCH, evaluate
from models.layers import sparse_layers
from models.losses import loss_function
from models.networks import MLP, VGG, AnyNetwork, LeNet5
from models.optimizers import SGD, Adam
from models.recipe import Augmentation, Training
from models.rewiring import SET, Asked, Moment, Rewired, Rewiring, Static
from models.schedules import Constant, Cosine
from models.seeds import generator
from models.training import ConnectionLeak, Diverged, Run


def ordinary(network: nn.Module) -> nn.Sequential:
    """The same network of torch's own layers, with the same weights."""
    twins = []
    for part in network.children():
        if part not in sparse_layers(network).values():
            twins.append(copy.deepcopy(part))
            continue
        weight = part.to_dense()
        if weight.ndim == 4:
            twin: nn.Module = nn.Conv2d(
                *weight.shape[1::-1], weight.shape[2], part.stride, part.padding, bias=part.bias is not None
            )
        else:
            twin = nn.Linear(*weight.shape[::-1], bias=part.bias is not None)
        twin.load_state_dict({"weight": weight} | ({"bias": part.bias} if part.bias is not None else {}))
        twins.append(twin)
    return nn.Sequential(*twins)


@pytest.mark.parametrize(
    ("network", "input_shape"),
    [
        (MLP(widths=(16, 10)), (12,)),
        (LeNet5(channels=(3, 4), width=8), (1, 20, 20)),
        (VGG(channels=(4, "pool"), stride=2), IMAGE),
    ],
    ids=["mlp", "lenet5", "vgg"],
)
def test_at_density_1_the_losses_are_those_of_an_ordinary_network(network: AnyNetwork, input_shape: Any) -> None:
    split = classes_in_space(input_shape)
    training = Training(epochs=3, batch_size=16, optimizer=SGD(lr=0.05, momentum=0.9, weight_decay=1e-3))
    run = begin(network, split, density=1.0, rewiring=Static(), seed=5, training=training)
    twin = ordinary(run.network)
    weights = [parameter for parameter in twin.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in twin.parameters() if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": 1e-3}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3 * 6)
    draw, expected = generator(5, "order"), []
    for _ in range(3):
        twin.train()
        total = 0.0
        for batch in torch.randperm(90, generator=draw).split(16):
            loss = F.cross_entropy(twin(split.train.x[batch]), split.train.y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        held_out = F.cross_entropy(twin.eval()(split.held_out.x), split.held_out.y)
        expected.append((total / 90, held_out.item()))
    found = [(report.train_loss, report.loss) for report in run.train()]
    assert torch.tensor(found) == pytest.approx(torch.tensor(expected), rel=1e-4)


RICH = (
    MLP(widths=(16, 10), batch_norm=True, dropout=0.3),
    VGG(channels=(4, "pool", 6), widths=(8,), dropout=0.3),
)


def rich(network: AnyNetwork, **options: Any) -> Run:
    image = isinstance(network, VGG)
    training = Training(
        epochs=3, batch_size=16, optimizer=Adam(lr=0.01), augmentation=Augmentation(shift=int(image), flip=image)
    )
    return begin(network, classes_in_space(IMAGE if image else (12,)), training=training, **options)


@pytest.mark.parametrize("network", RICH, ids=["mlp", "vgg"])
def test_a_seed_decides_everything_and_the_global_random_state_nothing(network: AnyNetwork) -> None:
    runs = []
    for global_seed, seed in ((1, 3), (2, 3), (2, 4)):
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        runs.append(rich(network, seed=seed))
        list(runs[-1].train())
        assert torch.equal(before, torch.get_rng_state())
    one, again, other = runs
    assert measured(one) == measured(again)
    assert same_state(one, again)
    assert measured(one) != measured(other)


def test_set_with_fraction_0_is_static_bit_for_bit() -> None:
    runs = [rich(RICH[0], rewiring=rewiring) for rewiring in (SET(fraction=0.0, every=2), Static())]
    for run in runs:
        list(run.train())
    assert measured(runs[0]) == measured(runs[1])
    assert same_state(*runs)


def test_static_connections_stay_and_those_of_set_move_but_never_in_number() -> None:
    for rewiring, moves in ((Static(), False), (SET(fraction=0.3), True)):
        run = begin(rewiring=rewiring)
        before = [layer.connections.hash() for layer in run.layers.values()]
        reports = list(run.train())
        after = [layer.connections.hash() for layer in run.layers.values()]
        assert (before != after) is moves
        assert {report.nnz for report in reports} == {run.plan.counts}
        assert [report.churn > 0 for report in reports] == [moves, moves, moves, False]


def test_churn_is_the_share_of_connections_grown_in_the_epoch() -> None:
    report = next(begin(rewiring=SET(fraction=0.5)).train())
    assert 0.45 < report.churn <= 0.5


def test_the_explored_share_is_that_of_all_masks_there_have_been() -> None:
    run = begin(rewiring=SET(fraction=0.5), density=0.2)
    masks = [layer.connections.mask() for layer in run.layers.values()]
    for report in run.train():
        masks = [mask | layer.connections.mask() for mask, layer in zip(masks, run.layers.values(), strict=True)]
        share = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
        assert report.explored == share  # one rewiring an epoch: the report comes after it
    assert 0.2 < share < 1
    *_, last = begin(rewiring=Static(), density=0.2).train()
    assert last.explored == sum(last.nnz) / 382


def test_prune_only_leaves_fewer_connections_after_the_last_epoch_alone() -> None:
    run = begin(rewiring=SET(fraction=0.3, last_epoch="prune_only"))
    reports = list(run.train())
    assert {report.nnz for report in reports[:-1]} == {run.plan.counts}
    assert all(left < asked for left, asked in zip(reports[-1].nnz, run.plan.counts, strict=True))
    assert reports[-1].nnz == tuple(layer.count_active() for layer in run.layers.values())


def test_pruning_everything_at_the_end_is_reported_as_it_is() -> None:
    *_, last = begin(rewiring=SET(fraction=1.0, last_epoch="prune_only")).train()
    assert last.nnz == (0, 0, 0)


@dataclass(frozen=True)
class Leaky(Rewiring):
    """Keeps all connections, but in the second layer and at the third step one more or one less than there were."""

    change: int

    def due(self, moment: Moment) -> bool:
        return moment.step == 3

    def __call__(
        self, state: None, layers: Sequence[Any], moment: Moment, stream: torch.Generator
    ) -> tuple[None, list[Rewired | None]]:
        before: Connections = layers[1].connections
        grown = before.sample_absent(max(self.change, 0), stream)
        kept = before.positions[max(-self.change, 0) :]
        after = Connections(before.shape, torch.cat([kept, grown]).sort().values)
        return None, [None, Rewired(after, grown, torch.zeros(len(grown))), None]


@pytest.mark.parametrize("change", [1, -1])
def test_a_rewiring_that_leaks_one_connection_fails_the_training(change: int) -> None:
    run = begin(rewiring=Leaky(change))
    asked = run.plan.counts[1]
    with pytest.raises(ConnectionLeak, match=f"layer fc2: {asked} connections were asked, {asked + change}") as caught:
        list(run.train())
    assert (caught.value.layer, caught.value.asked, caught.value.counted) == ("fc2", asked, asked + change)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert run.reports == []


class LeakyInAll(Leaky):
    """Says only how many connections there are to be in all."""

    def asked(self, counts: tuple[int, ...], rewired: Sequence[Rewired | None], moment: Moment, state: None) -> Asked:
        return sum(counts)


def test_where_only_the_total_is_asked_a_leak_is_one_of_the_total() -> None:
    run = begin(rewiring=LeakyInAll(1))
    total = sum(run.plan.counts)
    with pytest.raises(ConnectionLeak, match=f"layer all: {total} connections were asked, {total + 1}"):
        list(run.train())


def test_a_layer_that_does_not_do_as_told_fails_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(rewiring=SET(), storage="masked")
    monkeypatch.setattr(run.layers["fc1"].stored, "replace", lambda connections, values: None)
    run.layers["fc1"].stored.mask[0, 0] = 1 - run.layers["fc1"].stored.mask[0, 0]
    with pytest.raises(ConnectionLeak, match="layer fc1"):
        list(run.train())


def test_a_topology_that_places_another_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "models.topologies.Random.__call__",
        lambda self, network, counts, stream: [Connections.full(s.weight) for s in network.layers],
    )
    with pytest.raises(ConnectionLeak, match="layer fc1"):
        begin(density=0.4)


def test_iteration_may_stop_after_any_epoch_and_go_on() -> None:
    whole, stopped = rich(RICH[0]), rich(RICH[0])
    list(whole.train())
    assert [report.epoch for report in itertools.islice(stopped.train(), 1)] == [1]
    assert stopped.epoch == 1
    assert [report.epoch for report in stopped.train()] == [2, 3]
    assert list(stopped.train()) == []
    assert measured(whole) == measured(stopped)
    assert same_state(whole, stopped)
    assert whole.gradient_flow == stopped.gradient_flow


def test_at_the_end_only_means_that_held_out_samples_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr("models.training.evaluate", lambda *arguments: looks.append(arguments) or evaluate(*arguments))
    reports = list(begin(evaluate="end").train())
    assert len(looks) == 1
    assert [report.loss is None for report in reports] == [True, True, True, False]
    assert [report.accuracy is None for report in reports] == [True, True, True, False]


def test_the_last_evaluation_is_of_the_network_as_it_stands() -> None:
    run = begin(MLP(widths=(16, 10), batch_norm=True, dropout=0.3))
    *_, last = run.train()
    found = run.evaluate()
    assert (last.loss, last.accuracy, last.balanced_accuracy) == (found.loss, found.accuracy, found.balanced_accuracy)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("network", [MLP(widths=(16, 10)), *RICH], ids=["plain", "mlp", "vgg"])
def test_an_easy_problem_is_learned(loss: Any, network: AnyNetwork) -> None:
    split = classes_in_space(IMAGE if isinstance(network, VGG) else (12,), train=300)
    training = Training(epochs=12, batch_size=16, loss=loss, optimizer=SGD(lr=0.1))
    reports = list(begin(network, split, density=0.5, training=training).train())
    assert reports[-1].train_loss < reports[0].train_loss
    assert reports[-1].accuracy > 0.9
    assert reports[-1].balanced_accuracy > 0.9


def test_the_schedule_is_followed_step_by_step() -> None:
    rates = []
    training = Training(epochs=2, batch_size=16, optimizer=SGD(lr=0.5), schedule=Cosine(warm_up=0.2))
    run = begin(training=training, storage="masked")
    step = run.optimizer.step
    run.optimizer.step = lambda: (rates.append([group["lr"] for group in run.optimizer.param_groups]), step())
    reports = list(run.train())
    assert rates == [[0.5 * Cosine(warm_up=0.2)(done, 12)] * 2 for done in range(12)]
    assert [report.lr for report in reports] == [rates[5][0], rates[11][0]]


def test_a_training_that_diverges_says_so() -> None:
    training = Training(epochs=30, batch_size=16, optimizer=SGD(lr=1e6), schedule=Constant())
    for rewiring in (Static(), SET(every=1)):
        with pytest.raises(Diverged, match="not finite in epoch 1; a lower learning rate"):
            list(begin(training=training, rewiring=rewiring).train())


@given(st.integers(1, 1000), st.integers(1, 300))
def test_batches_take_every_sample_and_never_one_alone(samples: int, batch_size: int) -> None:
    sizes = batch_sizes(samples, batch_size)
    assert sum(sizes) == samples
    assert all(size == batch_size for size in sizes[:-1])
    assert sizes[-1] <= batch_size + 1
    assert 1 not in sizes or 1 in (samples, batch_size)


def test_one_sample_too_many_for_whole_batches_does_not_stop_batch_norm() -> None:
    split = classes_in_space(train=49)
    assert len(list(begin(RICH[0], split).train())) == 4


def test_augmented_vectors_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="augmentation needs images"):
        begin(training=Training(augmentation=Augmentation(flip=True)))


def test_squared_error_is_half_the_sum_over_classes_of_sigmoid_outputs() -> None:
    outputs, labels = torch.tensor([[0.0, 2.0], [1.0, -1.0]], requires_grad=True), torch.tensor([0, 1])
    on = outputs.detach().sigmoid()
    errors = on - torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = loss_function("mse", 2)(outputs, labels)
    loss.backward()
    assert loss.item() == pytest.approx(errors.square().sum().item() / 4)
    assert torch.allclose(outputs.grad, errors * on * (1 - on) / 2)


class Fixed(nn.Module):
    """Answers each input with the output written in it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.one_hot(x[:, 0].long(), 4).float() * 5


def test_balanced_accuracy_is_the_mean_over_the_classes_that_are_there() -> None:
    y = torch.tensor([0] * 8 + [1] * 2 + [3] * 10)
    answers = torch.tensor([0] * 8 + [0] * 1 + [1] * 1 + [3] * 5 + [2] * 5)
    found = evaluate(Fixed(), Samples(answers[:, None].float(), y), loss_function("cross_entropy", 4), 4)
    assert found.accuracy == pytest.approx(14 / 20)
    assert found.balanced_accuracy == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_samples_are_evaluated_in_batches_as_if_all_at_once() -> None:
    split = classes_in_space(held_out=2 * BATCH + 7)
    run = begin(replace(RICH[0]), split)
    next(run.train())
    whole = run.network.eval()(split.held_out.x)
    statistics = {name: value.clone() for name, value in run.network.state_dict().items()}
    found = run.evaluate()
    assert found.loss == pytest.approx(F.cross_entropy(whole, split.held_out.y).item(), rel=1e-5)
    assert found.accuracy == pytest.approx((whole.argmax(1) == split.held_out.y).float().mean().item())
    assert all(torch.equal(value, statistics[name]) for name, value in run.network.state_dict().items())
