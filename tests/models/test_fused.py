"""Steps without autograd are those with it; what they do not know is left to autograd."""

import copy
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from small_problem import IMAGE, begin, classes_in_space, measured
from torch import Tensor, nn

from models import checkpoint, optimizers
from models.autograd_steps import AutogradSteps
from models.connections import Connections
from models.data.samples import Samples, Split
from models.fused import FusedSteps
from models.layers import SparseLinear
from models.layers.compressed import Compressed
from models.networks import MLP, VGG, AnyNetwork
from models.optimizers import SGD, Adam, AdamW, AnyOptimizer
from models.recipe import Augmentation, Loss, Training
from models.rewiring import DSR, SET, RigL, Static
from models.seeds import generator
from models.training import Run

PLAIN = MLP(widths=(16, 10))


def run(
    network: AnyNetwork = PLAIN,
    optimizer: AnyOptimizer | None = None,
    loss: Loss = "cross_entropy",
    rewiring: Any = None,
    dtype: torch.dtype = torch.float64,
    storage: Any = "compressed",
    shape: tuple[int, ...] = (12,),
    **training: Any,
) -> Run:
    """In double precision, where rounding decides no rewiring."""
    split = classes_in_space(shape, train=50)
    parts = [Samples(part.x.to(dtype), part.y) for part in (split.train, split.held_out)]
    recipe = Training(epochs=3, batch_size=16, loss=loss, optimizer=optimizer or SGD(lr=0.1), **training)
    split = Split(*parts, split.classes, shape)
    made = begin(network, split, 0.3, rewiring or SET(grown="normal"), training=recipe, storage=storage)
    made.network.to(dtype)
    made.optimizer = optimizers.build(recipe.optimizer, made.network)
    return made


def by_autograd(made: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same run, whose steps are known to nobody."""
    steps = made.steps

    def autograd() -> Any:
        found = steps()
        if isinstance(found, AutogradSteps):
            return found
        return AutogradSteps(made.network, made.optimizer, made.loss, made.split.train, lambda x: x)

    monkeypatch.setattr(made, "steps", autograd)
    return made


def assert_same(fused: Run, other: Run) -> None:
    for ours, theirs in zip(fused.train(), other.train(), strict=True):
        for field in ("train_loss", "loss", "accuracy", "churn", "egf_1", "lr"):
            assert getattr(ours, field) == pytest.approx(getattr(theirs, field), rel=1e-6), field
    assert [layer.connections.hash() for layer in fused.layers.values()] == [
        layer.connections.hash() for layer in other.layers.values()
    ]
    ours, theirs = fused.network.state_dict(), other.network.state_dict()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-6, atol=1e-8)
    states = [each.optimizer.state_dict()["state"] for each in (fused, other)]
    assert states[0].keys() == states[1].keys()
    for number, memory in states[1].items():
        assert {name for name, value in memory.items() if value is not None} == set(states[0][number])
        for name, value in states[0][number].items():
            torch.testing.assert_close(value, memory[name], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize(
    "network",
    [
        PLAIN,
        MLP(widths=(5,)),
        MLP(widths=(16, 10, 8, 7), activation="sigmoid"),
        MLP(widths=(16, 10), activation="elu", dropout=0.3),
        MLP(widths=(16, 10), activation="silu", batch_norm=True),
        MLP(widths=(16, 10), batch_norm=True, dropout=0.2),
    ],
    ids=repr,
)
def test_networks_known_here_learn_as_by_autograd(network: MLP, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = run(network, loss=loss)
    assert isinstance(fused.steps(), FusedSteps)
    assert_same(fused, by_autograd(run(network, loss=loss), monkeypatch))


def test_layers_that_are_taken_in_blocks_learn_as_by_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    network, shape = MLP(widths=(64, 300)), (784,)
    fused = run(network, shape=shape)
    assert isinstance(fused.steps(), FusedSteps)
    first, second, _ = (cast(Compressed, layer.stored).structure for layer in fused.layers.values())
    assert first.by_rows(16, 8) is not first.plain
    assert second.by_columns(16, 8) is not second.transposed
    assert_same(fused, by_autograd(run(network, shape=shape), monkeypatch))


def test_a_first_layer_without_connections_leaves_the_others_theirs() -> None:
    draw = generator(0)
    none = SparseLinear(
        12, 16, connections=Connections((16, 12), torch.empty(0, dtype=torch.int64)), storage="compressed"
    )
    network = nn.Sequential(none, nn.ReLU(), SparseLinear(16, 3, 0.5, storage="compressed", generator=draw))
    with torch.no_grad():
        none.bias.normal_(generator=draw)  # type: ignore[union-attr]
    other = copy.deepcopy(network)
    samples = Samples(torch.randn(20, 12, generator=draw), torch.randint(3, (20,), generator=draw))
    ours, theirs = (torch.optim.SGD(each.parameters(), lr=0.5, momentum=0.9) for each in (network, other))
    steps = FusedSteps.of(network, ours, "cross_entropy", samples, 20)
    assert steps is not None
    for _ in range(3):
        (loss,) = steps([torch.arange(20)], [0.5])
        theirs.zero_grad()
        expected = nn.functional.cross_entropy(other(samples.x), samples.y)
        expected.backward()  # type: ignore[no-untyped-call]
        theirs.step()
        assert float(loss) == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(network.state_dict(), other.state_dict())


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(momentum=0.0, weight_decay=0.01),
        SGD(weight_decay=0.01),
        SGD(nesterov=True, weight_decay=0.01),
        Adam(),
        Adam(weight_decay=0.1),
        AdamW(weight_decay=0.5),
    ],
    ids=repr,
)
def test_optimizers_known_here_learn_as_by_autograd(optimizer: AnyOptimizer, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MLP(widths=(16, 10), batch_norm=True)
    fused = run(network, optimizer)
    assert isinstance(fused.steps(), FusedSteps)
    assert_same(fused, by_autograd(run(network, optimizer), monkeypatch))


@pytest.mark.parametrize(
    "rewiring", [Static(), SET(every=3), SET(last_epoch="prune_only"), RigL(every=3), DSR(every=3)], ids=repr
)
def test_rewirings_between_steps_are_the_same(rewiring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same(run(rewiring=rewiring), by_autograd(run(rewiring=rewiring), monkeypatch))


def test_only_the_steps_that_a_rewiring_observes_are_left_to_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    made, fused = run(rewiring=RigL(every=3)), []
    call = FusedSteps.__call__

    def counted(self: FusedSteps, batches: Any, rates: Any) -> Tensor:
        fused.append(len(batches))
        return call(self, batches, rates)

    monkeypatch.setattr(FusedSteps, "__call__", counted)
    list(made.train())
    assert fused == [2, 1, 1, 2, 4]  # 12 steps in epochs of 4: all but the third and the sixth; .75 ends at 9


def test_images_are_flattened(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = run(shape=IMAGE)
    assert isinstance(fused.steps(), FusedSteps)
    assert_same(fused, by_autograd(run(shape=IMAGE), monkeypatch))


def test_single_precision_agrees_to_its_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    fused = run(dtype=torch.float32, rewiring=Static())
    other = by_autograd(run(dtype=torch.float32, rewiring=Static()), monkeypatch)
    for ours, theirs in zip(fused.train(), other.train(), strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_of_both_kinds_may_follow_each_other(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MLP(widths=(16, 10), batch_norm=True, dropout=0.2)
    mixed, other = (run(network, Adam(), rewiring=Static(), dtype=dtype) for _ in range(2))
    list(islice(mixed.train(), 1))
    by_autograd(mixed, monkeypatch)
    list(mixed.train())
    list(by_autograd(other, monkeypatch).train())
    for ours, theirs in zip(mixed.reports, other.reports, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    network = MLP(widths=(16, 10), batch_norm=True, dropout=0.2)
    whole, stopped = (run(network, Adam(), dtype=torch.float32) for _ in range(2))
    list(whole.train())
    list(islice(stopped.train(), 1))
    checkpoint.save(stopped, tmp_path / "run")
    resumed = checkpoint.load(tmp_path / "run", stopped.split)
    assert isinstance(resumed.steps(), FusedSteps)
    list(resumed.train())
    assert measured(resumed) == measured(whole)


def other_loss(made: Run) -> None:
    made.loss = lambda outputs, labels: nn.functional.cross_entropy(outputs, labels)


def frozen(made: Run) -> None:
    next(made.network.parameters()).requires_grad_(False)


def a_part_of_ones_own(made: Run) -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    made.network.fc1_activation = nn.Sequential(nn.ReLU(), Doubled())


@pytest.mark.parametrize("change", [other_loss, frozen, a_part_of_ones_own])
def test_a_run_changed_by_hand_is_left_to_autograd(change: Callable[[Run], None]) -> None:
    made = run()
    change(made)
    assert isinstance(made.steps(), AutogradSteps)


@pytest.mark.parametrize(
    "made",
    [
        {"network": MLP(widths=(16, 10), activation="prelu")},
        {"network": MLP(widths=(16, 10), activation="srelu")},
        {"network": VGG(channels=(4, "pool"), stride=2), "shape": IMAGE},
        {"optimizer": optimizers.RMSprop()},
        {"storage": "masked"},
        {"shape": IMAGE, "augmentation": Augmentation(flip=True)},
    ],
    ids=repr,
)
def test_what_is_not_known_is_left_to_autograd(made: dict[str, Any]) -> None:
    assert isinstance(run(**made).steps(), AutogradSteps)


def test_a_training_that_diverges_says_so_here_too() -> None:
    made = run(optimizer=SGD(lr=1e200), rewiring=Static())
    with pytest.raises(ArithmeticError, match="not finite in epoch 1"):
        list(made.train())
