"""A job whose rewiring would never come is refused; one whose rewiring comes, however seldom, is not."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from search_stubs import job

from models.data.samples import Samples, Split
from models.networks import MLP
from models.optimizers import SGD
from models.recipe import Training
from models.rewiring import AnyRewiring, Rewiring, Static
from models.topologies import Random
from models.training import start
from models.types import kind_of, members
from search.faults import InvalidSpec
from search.rewiring_limits import refuse_unsuitable_rewiring

KINDS = [kind_of(each) for each in members(AnyRewiring)]
PERIODIC = ["set", "rigl", "dsr", "momentum"]
NETWORK = MLP(widths=(4,))
LAYERS = NETWORK.layers((3,), 2)

EVERY = st.one_of(st.just("epoch"), st.integers(1, 40))
UNTIL = st.one_of(st.sampled_from([1.0, 0.5, 0.25, 0.75, 1 / 3]), st.floats(0.01, 1.0))


class Watched(Rewiring):
    """Asks another rewiring when it is due, and changes nothing."""

    def __init__(self, rewiring):
        self.rewiring, self.moments = rewiring, []

    def due(self, moment):
        if self.rewiring.due(moment):
            self.moments.append(moment.step)
        return False

    def __call__(self, state, layers, moment, generator):
        raise AssertionError("it is never due")


def rewired_at(rewiring, epochs, batch_size, samples):
    """The steps at which a whole training would have rewired."""
    x, y = torch.zeros(samples, 3), torch.arange(samples) % 2
    split = Split(Samples(x, y), Samples(x, y), 2, (3,))
    watched = Watched(rewiring)
    recipe = Training(epochs=epochs, batch_size=batch_size, optimizer=SGD(lr=0.1))
    counts = [layer.total // 2 for layer in LAYERS]
    list(start(NETWORK, counts, Random(), watched, recipe, split, 1, "never").train())
    return watched.moments


def spec(rewiring, epochs=3, batch_size=8):
    return job(rewiring=rewiring, training={"epochs": epochs, "batch_size": batch_size}, confirm=None)


def refusal(asked, samples):
    with pytest.raises(InvalidSpec) as caught:
        refuse_unsuitable_rewiring(asked, LAYERS, samples)
    (fault,) = caught.value.faults
    return fault


@given(
    kind=st.sampled_from(KINDS),
    every=EVERY,
    until=UNTIL,
    last_epoch=st.sampled_from(["skip", "prune_only"]),
    fraction=st.sampled_from([0.0, 0.3]),
    epochs=st.integers(1, 3),
    batch_size=st.integers(2, 12),
    samples=st.integers(2, 40),
)
@example("set", "epoch", 1.0, "skip", 0.3, 1, 8, 40)
@example("set", "epoch", 1.0, "prune_only", 0.3, 1, 8, 40)
@example("rigl", "epoch", 0.5, "skip", 0.3, 2, 8, 40)
@example("rigl", "epoch", 0.51, "skip", 0.3, 2, 8, 40)
@example("dsr", 5, 1.0, "skip", 0.3, 1, 8, 40)
@example("neuron_set", "epoch", 1.0, "skip", 0.3, 1, 8, 40)
@settings(max_examples=80, deadline=None)
def test_exactly_those_are_refused_that_the_training_would_never_ask(
    kind, every, until, last_epoch, fraction, epochs, batch_size, samples
):
    rewiring = {"kind": kind}
    if kind in PERIODIC:
        rewiring |= {"every": every, "until": until, "fraction": fraction or (0.1 if kind == "dsr" else 0.0)}
    if kind == "set" and last_epoch == "prune_only":
        rewiring |= {"last_epoch": last_epoch, "until": 1.0}
    asked = spec(rewiring, epochs, batch_size)
    moments = rewired_at(asked.rewiring, epochs, batch_size, samples)
    if moments or isinstance(asked.rewiring, Static):
        refuse_unsuitable_rewiring(asked, LAYERS, samples)
    else:
        refusal(asked, samples)


@pytest.mark.parametrize("kind", PERIODIC)
def test_a_single_epoch_has_no_rewiring_after_each_epoch_but_the_last(kind):
    fault = refusal(spec({"kind": kind, "every": "epoch"}, epochs=1), 80)
    assert (fault["field"], fault["value"]) == ("rewiring.every", "epoch")
    assert "the first rewiring would come after step 10" in fault["message"]
    assert "of the 10 of a trial" in fault["message"]


def test_the_end_comes_before_the_first_turn():
    fault = refusal(spec({"kind": "rigl", "every": "epoch", "until": 0.25}, epochs=4), 80)
    assert "rewiring ends with step 10 of the 40 of a trial" in fault["message"]


def test_neurons_go_after_an_epoch_that_is_not_the_last():
    fault = refusal(spec({"kind": "neuron_set"}, epochs=1), 80)
    assert (fault["field"], fault["value"]) == ("training.epochs", 1)
    assert "at least 2" in fault["message"]


def test_a_rewiring_that_moves_nothing_is_called_static():
    fault = refusal(spec({"kind": "set", "fraction": 0}), 80)
    assert (fault["field"], fault["value"]) == ("rewiring.fraction", 0.0)
    assert "static" in fault["message"]
