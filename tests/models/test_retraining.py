"""Training on the structure found: which connections, from which weights, at what cost."""

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_problem import begin, classes_in_space, measured, same_state
from torch import Tensor

from models import checkpoint
from models.evaluation import evaluate
from models.networks import MLP
from models.optimizers import SGD, Adam
from models.recipe import Training
from models.retraining import Retrained, Retraining, counts_by_round, start_retraining
from models.retraining_checkpoint import load, save
from models.rewiring import DSR, SET, Gradual, NeuronSET, OneShot, RigL
from models.topologies import Random
from models.training import Run

NETWORK = MLP(widths=(16, 10), batch_norm=True, activation="prelu")
ADAM = Training(epochs=3, batch_size=16, optimizer=Adam(lr=0.01))


def retrained(retraining: Retraining, rewiring: Any = None, training: Training = ADAM, **options: Any) -> Retrained:
    split = classes_in_space()
    counts = [layer.total // 5 for layer in NETWORK.layers(split.input_shape, split.classes)]
    rewiring = rewiring or OneShot(at=1.0)
    return start_retraining(retraining, NETWORK, counts, Random(), rewiring, training, split, 1, **options)


def first(rewiring: Any, training: Training = ADAM) -> Run:
    return begin(NETWORK, rewiring=rewiring, density=0.2, training=training)


def up_to_the_last(whole: Retrained) -> tuple[Run, dict[str, Tensor]]:
    """The run before the last one as it ended, and the last one's weights before its first step."""
    reports, epochs = whole.train(), whole.run.plan.training.epochs
    for _ in range(epochs * (whole.course.trainings - 1)):
        next(reports)
    found = whole.run
    begun: dict[str, Tensor] = {}
    train = Run.train

    def watched(run: Run) -> Any:
        begun.update({name: value.detach().clone() for name, value in run.network.state_dict().items()})
        return train(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "train", watched)
        list(reports)
    return found, begun


def dense(run_or_state: dict[str, Tensor], name: str, total: int) -> Tensor:
    values = torch.zeros(total)
    values[run_or_state[f"{name}.positions"]] = run_or_state[f"{name}.values"]
    return values


def test_the_first_training_is_the_ordinary_one_and_the_second_has_its_connections() -> None:
    whole, ordinary = retrained(Retraining()), first(OneShot(at=1.0))
    list(ordinary.train())
    found, _ = up_to_the_last(whole)
    assert measured(found) == measured(ordinary)
    assert same_state(found, ordinary)
    ended = [layer.connections.hash() for layer in whole.layers.values()]
    assert ended == [layer.connections.hash() for layer in ordinary.layers.values()]
    assert whole.run is not found
    assert [report.nnz for report in whole.reports[3:]] == [ordinary.plan.counts] * 3


def test_a_lottery_ticket_is_rewound_to_the_weights_that_its_connections_began_with() -> None:
    whole = retrained(Retraining(weights="rewind", per_round=0.5))
    initial = {name: value.clone() for name, value in whole.run.network.state_dict().items()}
    _, begun = up_to_the_last(whole)
    for name, layer in whole.layers.items():
        total = layer.connections.total
        assert torch.equal(dense(begun, name, total), dense(initial, name, total) * layer.connections.mask().flatten())
    others = [name for name in initial if not name.endswith((".values", ".positions"))]
    assert len(others) > 10
    assert all(torch.equal(begun[name], initial[name]) for name in others)


def test_kept_weights_are_those_that_the_first_training_ended_with() -> None:
    found, begun = up_to_the_last(retrained(Retraining(weights="keep")))
    assert found.network.state_dict().keys() == begun.keys()
    assert all(torch.equal(value, begun[name]) for name, value in found.network.state_dict().items())


def test_fresh_weights_are_new_ones_of_the_spread_that_fits_the_connections_found() -> None:
    found, begun = up_to_the_last(retrained(Retraining(weights="fresh")))
    again, _ = up_to_the_last(retrained(Retraining(weights="fresh")))
    for name, layer in found.layers.items():
        assert torch.equal(begun[f"{name}.positions"], layer.connections.positions)
        assert not torch.isclose(begun[f"{name}.values"], layer.values).any()
    assert not begun["fc1_norm.running_mean"].any()
    assert same_state(found, again)


@pytest.mark.parametrize("weights", ["rewind", "fresh", "keep"])
def test_the_second_training_takes_the_whole_recipe_from_its_first_step(weights: Any) -> None:
    whole = retrained(Retraining(weights=weights))
    rates = [report.lr for report in whole.train()]
    assert rates[:3] == rates[3:]
    assert [report.epoch for report in whole.reports] == [1, 2, 3, 4, 5, 6]
    assert whole.reports[-1].nnz == whole.run.plan.counts
    assert [state["step"].item() for state in whole.run.optimizer.state.values()] == [18.0] * 10
    other = retrained(Retraining(weights=weights))
    list(other.train())
    assert same_state(whole.run, other.run)


@pytest.mark.parametrize(
    "rewiring", [OneShot(at=0.5), OneShot(scope="global"), Gradual(every=2), Gradual(scope="global")], ids=repr
)
def test_rounds_remove_a_share_each_and_never_give_back(rewiring: Any) -> None:
    whole = retrained(Retraining(per_round=0.4), rewiring)
    list(whole.train())
    assert whole.course.trainings == 5  # at .6, .36, .216 and .2 of the weights, and the ticket itself
    ends = [report.nnz for report in whole.reports[2::3]]
    assert [sum(nnz) for nnz in ends] == [115 + 96 + 18, 69 + 57 + 10, 41 + 34 + 6, 76, 76]
    assert len(whole.reports) == 15
    for before, after in pairwise(report.nnz for report in whole.reports):
        assert all(one >= other for one, other in zip(before, after, strict=True))
    if rewiring.scope == "layer":
        assert ends[0] == (115, 96, 18)


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0.01, 1)), min_size=1, max_size=4), st.integers(5, 100))
def test_counts_by_round_fall_in_every_layer_to_those_asked(layers: list[tuple[int, float]], percent: int) -> None:
    totals = [total for total, _ in layers]
    asked = [max(1, round(total * density)) for total, density in layers]
    rounds = counts_by_round(percent / 100, totals, asked)
    assert rounds[-1] == tuple(asked)
    assert tuple(asked) not in rounds[:-1]
    for before, after in pairwise([tuple(totals), *rounds]):
        for one, other, last in zip(before, after, asked, strict=True):
            assert other == max(one * (100 - percent) // 100, last)
    assert counts_by_round(percent / 100, asked, asked) == (tuple(asked),)


@pytest.mark.parametrize(
    "rewiring",
    [SET(), NeuronSET(budget="shrink"), SET(last_epoch="prune_only"), RigL(every=4), DSR(every=4)],
    ids=repr,
)
def test_what_a_rewiring_found_may_be_trained_again(rewiring: Any) -> None:
    whole = retrained(Retraining(weights="fresh"), rewiring)
    list(whole.train())
    assert whole.course.trainings == 2
    assert whole.reports[3].nnz == whole.reports[2].nnz == whole.reports[-1].nnz
    assert whole.reports[3].churn == 0


def test_of_samples_that_may_be_seen_once_only_the_last_training_sees_any(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr("models.training.evaluate", lambda *given: looks.append(given) or evaluate(*given))
    reports = list(retrained(Retraining(per_round=0.5), evaluate="end").train())
    assert len(looks) == 1
    assert [report.loss is None for report in reports] == [True] * (len(reports) - 1) + [False]


def test_the_result_is_of_the_last_training_and_the_cost_of_all() -> None:
    whole = retrained(Retraining(), training=Training(epochs=2, batch_size=16, optimizer=SGD(lr=0.1)))
    list(whole.train())
    assert whole.reports[-1].accuracy == whole.run.evaluate().accuracy
    assert [each.epoch for each in whole.gradient_flow] == [0, 1, 2]
    assert len(whole.reports) == 4
    assert whole.run.reports[0].seconds == whole.reports[2].seconds


@pytest.mark.parametrize("weights", ["rewind", "fresh", "keep"])
@pytest.mark.parametrize("stopped", [0, 1, 3, 5, 8], ids=lambda stopped: f"after {stopped} epochs")
def test_resumed_anywhere_it_ends_as_if_never_stopped(weights: Any, stopped: int, tmp_path: Path) -> None:
    whole, half = (retrained(Retraining(weights=weights, per_round=0.6), Gradual(every=2)) for _ in "ab")
    assert whole.course.trainings == 3
    list(whole.train())
    list(islice(half.train(), stopped))
    save(half, tmp_path / "half")
    resumed = load(tmp_path / "half", half.run.split)
    assert (resumed.course, resumed.number) == (half.course, half.number)
    assert resumed.reports == half.reports
    list(resumed.train())
    assert len(resumed.reports) == 9
    assert measured(resumed) == measured(whole)  # type: ignore[arg-type]
    checkpoint.save(whole.run, tmp_path / "whole")  # so that both show the same at absent connections
    checkpoint.save(resumed.run, tmp_path / "resumed")
    assert same_state(*(checkpoint.load(tmp_path / name, half.run.split) for name in ("whole", "resumed")))


def test_iteration_may_stop_after_any_epoch_and_go_on() -> None:
    whole, stopped = retrained(Retraining()), retrained(Retraining())
    list(whole.train())
    for _ in range(7):
        list(islice(stopped.train(), 1))
    assert measured(whole) == measured(stopped)  # type: ignore[arg-type]
    assert list(stopped.train()) == []


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"Retraining.per_round: {share} is not allowed"):
        Retraining(per_round=share)
