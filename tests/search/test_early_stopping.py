import pytest
from search_stubs import job

from models.probe import measured_epochs
from search.early_stopping import compared_by, goes_on, rung

HALVING = {"kind": "halving", "from": 0.4}


def halving(**training):
    return job({"stopping": HALVING}, training={"epochs": 10, **training})


def test_nothing_is_stopped_without_a_rule():
    spec = job()
    assert rung(spec) is None
    assert goes_on(spec, 4, 9.0, 100, [(100, 1.0)] * 9)


@pytest.mark.parametrize(("epochs", "epoch"), [(10, 4), (5, 2), (3, 2), (25, 10), (2, 1), (1, None)])
def test_the_rung_is_the_first_epoch_after_the_share(epochs, epoch):
    assert rung(halving(epochs=epochs)) == epoch


def test_only_the_rung_decides():
    assert all(goes_on(halving(), epoch, 9.0, 100, [(100, 1.0)] * 9) for epoch in (1, 2, 3, 5, 10))
    assert not goes_on(halving(), 4, 9.0, 100, [(100, 1.0)] * 9)


@pytest.mark.parametrize(("loss", "stays"), [(0.5, True), (2.5, True), (3.5, False), (9.0, False)])
def test_the_better_half_goes_on_itself_included(loss, stays):
    peers = [(100, 1.0), (100, 2.0), (100, 3.0), (100, 4.0)]
    assert goes_on(halving(), 4, loss, 100, peers) is stays


def test_four_peers_are_needed():
    assert goes_on(halving(), 4, 9.0, 100, [(100, 1.0)] * 3)
    assert not goes_on(halving(), 4, 9.0, 100, [(100, 1.0)] * 4)


def test_only_networks_of_up_to_twice_or_half_the_weights_are_peers():
    assert goes_on(halving(), 4, 9.0, 100, [(49, 1.0), (201, 1.0)] * 9)
    assert not goes_on(halving(), 4, 9.0, 100, [(50, 1.0), (200, 1.0)] * 2)


def test_equal_losses_all_go_on():
    assert goes_on(halving(), 4, 1.0, 100, [(100, 1.0)] * 9)


def by_flow(**training):
    return job({"stopping": HALVING | {"by": "egf_1"}}, training={"epochs": 10, **training})


def test_by_gradient_flow_more_is_better():
    peers = [(100, 1.0), (100, 2.0), (100, 3.0), (100, 4.0)]
    assert goes_on(by_flow(), 4, 2.5, 100, peers)
    assert not goes_on(by_flow(), 4, 0.5, 100, peers)
    assert compared_by(by_flow()) == "egf_1"
    assert compared_by(halving()) == "loss"


# Of 25 epochs those to the nearest of 2.5, 5, 7.5, 10, ... measure flow; of 40 every fourth.
@pytest.mark.parametrize(("epochs", "epoch"), [(10, 4), (25, 10), (40, 16), (35, 14), (33, 17), (2, 1), (1, None)])
def test_by_gradient_flow_the_rung_is_an_epoch_that_measures_it(epochs, epoch):
    found = rung(by_flow(epochs=epochs))
    assert found == epoch
    assert found is None or found in measured_epochs(epochs)
