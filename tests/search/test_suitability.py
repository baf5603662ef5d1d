"""What does not go together is refused when a job is submitted, with the field and what is allowed."""

import pytest
from search_stubs import job

from search.faults import InvalidSpec
from search.problem import examine

PRUNINGS = ["one_shot", "gradual", "iterative"]


def spec(search=None, **changes):
    value = {"data": {"kind": "bundled", "name": "digits"}, "network": {"kind": "mlp", "widths": [32, 16]}} | changes
    return job({"space": {"kind": "free"}, **(search or {})}, **value)


def refusal(spec):
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, None)
    (fault,) = caught.value.faults
    return fault


def test_neurons_are_removed_only_where_there_are_hidden_ones():
    rewiring = {"kind": "neuron_set"}
    without = {"kind": "vgg", "channels": [4, "pool"], "widths": []}
    fault = refusal(spec(rewiring=rewiring, network=without))
    assert (fault["field"], fault["value"]) == ("rewiring.kind", "neuron_set")
    assert "no hidden neurons" in fault["message"]
    examine(spec(rewiring=rewiring), None)
    examine(spec(rewiring=rewiring, network=without | {"widths": [8]}), None)


def test_given_connections_are_not_looked_for():
    fault = refusal(spec(rewiring={"kind": "static"}, retraining={"weights": "fresh"}))
    assert fault["field"] == "retraining"
    assert fault["value"] == {"weights": "fresh", "per_round": 1.0}


@pytest.mark.parametrize("kind", ["set", "neuron_set"])
def test_only_what_was_there_from_the_start_is_rewound_or_found_in_rounds(kind):
    rewiring = {"kind": kind}
    fault = refusal(spec(rewiring=rewiring, retraining={}))
    assert (fault["field"], fault["value"]) == ("retraining.weights", "rewind")
    assert "fresh or keep" in fault["message"]
    fault = refusal(spec(rewiring=rewiring, retraining={"weights": "keep", "per_round": 0.2}))
    assert (fault["field"], fault["value"]) == ("retraining.per_round", 0.2)
    for weights in ("fresh", "keep"):
        examine(spec(rewiring=rewiring, retraining={"weights": weights}), None)


@pytest.mark.parametrize("kind", PRUNINGS)
def test_prunings_take_any_retraining(kind):
    examine(spec(rewiring={"kind": kind}, retraining={"weights": "rewind", "per_round": 0.2}), None)


@pytest.mark.parametrize(("kind", "share"), [("one_shot", 0.5), ("gradual", 0.75), ("iterative", 0.75)])
def test_networks_are_compared_early_only_once_they_are_as_sparse_as_asked(kind, share):
    rewiring = {"kind": kind}
    fault = refusal(spec({"stopping": {"kind": "halving", "from": 0.4}}, rewiring=rewiring))
    assert (fault["field"], fault["value"]) == ("search.stopping.from", 0.4)
    assert f">= {share}" in fault["message"]
    examine(spec({"stopping": {"kind": "halving", "from": share}}, rewiring=rewiring), None)


def test_what_is_trained_twice_is_not_stopped_early():
    fault = refusal(spec({"stopping": {"kind": "halving"}}, retraining={"weights": "keep"}))
    assert fault["field"] == "search.stopping"
    assert fault["value"] == {"kind": "halving", "from": 0.4, "by": "loss"}


@pytest.mark.parametrize("kind", PRUNINGS)
def test_where_all_connections_are_there_no_topology_places_any(kind):
    fault = refusal(spec(rewiring={"kind": kind}, topology={"kind": "synflow"}))
    assert (fault["field"], fault["value"]) == ("topology.kind", "synflow")
    assert "must be random" in fault["message"]


@pytest.mark.parametrize(
    ("rewiring", "field"),
    [
        ({"kind": "neuron_set", "budget": "shrink"}, "rewiring.budget"),
        ({"kind": "set", "last_epoch": "prune_only"}, "rewiring.last_epoch"),
    ],
)
def test_what_ends_with_fewer_connections_than_asked_is_not_compared_at_equal_capacity(rewiring, field):
    fault = refusal(spec(rewiring=rewiring))
    assert fault["field"] == field
    assert "with a confirmation" in fault["message"]
    examine(spec(rewiring=rewiring, confirm=None), None)
