"""What a training multiplies, counted as it goes."""

from fractions import Fraction

import pytest

from benchmarks.training_cost import train_counted
from models.rewiring import SET, Gradual, OneShot, RigL, SparseMomentum, Static
from tests.models.small_problem import begin, classes_in_space, measured

SAMPLES, EPOCHS = 90, 4  # of the small problem: five whole batches of 16 and one of 10 in each epoch


def share(run):
    layers = run.layers.values()
    return Fraction(sum(layer.connections.nnz for layer in layers), sum(layer.connections.total for layer in layers))


@pytest.mark.parametrize("rewiring", [Static(), SET(every=5)])
def test_a_training_that_sees_active_weights_alone_costs_its_density(rewiring):
    run = begin(rewiring=rewiring)
    assert train_counted(run) == pytest.approx(float(share(run)), abs=1e-12)


def test_a_step_that_looks_at_absent_connections_multiplies_by_every_weight_once():
    run = begin(rewiring=RigL(every=4, until=0.75))  # steps 4, 8, 12 and 16 of 24; the third is an epoch's last
    looking, density = Fraction(16 + 16 + 10 + 16, EPOCHS * SAMPLES), share(run)
    assert train_counted(run) == pytest.approx(float(density + looking * (1 - density) / 3), abs=1e-12)


def test_sparse_momentum_looks_at_every_step():
    run = begin(rewiring=SparseMomentum())
    density = share(run)
    last = Fraction(10, EPOCHS * SAMPLES)  # after the last step nothing can be rewired: it is not looked at
    expected = density + (1 - last) * (1 - density) / 3
    assert train_counted(run) == pytest.approx(float(expected), abs=1e-12)


def test_pruning_costs_as_a_dense_network_until_the_weights_are_gone():
    run = begin(rewiring=OneShot(at=0.5))
    cost = train_counted(run)
    assert cost == pytest.approx(float((1 + share(run)) / 2), abs=1e-12)


def test_gradual_pruning_costs_what_is_left_at_each_step():
    run = begin(rewiring=Gradual(begin=0.0, end=0.75))
    cost = train_counted(run)
    total = sum(layer.connections.total for layer in run.layers.values())
    # Epochs begin with all weights, then with what the epoch before it has left.
    before = [total, *(sum(report.nnz) for report in run.reports[:-1])]
    assert cost == pytest.approx(sum(before) / (EPOCHS * total), abs=1e-12)


@pytest.mark.parametrize("rewiring", [SET(), RigL(every=4), Gradual()])
def test_counting_changes_nothing_of_the_training(rewiring):
    counted, plain = (begin(split=classes_in_space(), rewiring=rewiring) for _ in range(2))
    train_counted(counted)
    list(plain.train())
    assert measured(counted) == measured(plain)
