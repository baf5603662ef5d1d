"""Jobs of recurrent networks: what is refused, and small ones from the search to a verdict."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job

from models.averaging import SNTASGD
from models.rewiring import SET
from models.rewiring.drop import CosineDrop
from search import confirm, study, trials
from search.faults import InvalidSpec
from search.points import Assignment, Finished, Outcome
from search.problem import examine
from search.report import build
from search.spec import parse

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"
BUDGET = {"space": {"kind": "budget", "density": 0.4}, "trials": 2}


def spec(search=None, **changes):
    value = {"data": {"kind": "bundled", "name": "iris"}, "network": {"kind": "lstm", "units": [16]}, "confirm": None}
    return job(BUDGET | (search or {}), **(value | changes))


def refusal(spec, data_dir=None):
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, data_dir)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize("network", ["lstm", "gru"])
@pytest.mark.parametrize("rewiring", ["rigl", "momentum"])
def test_growth_by_gradients_is_refused_where_layers_show_none(network, rewiring):
    fault = refusal(spec(network={"kind": network}, rewiring={"kind": rewiring}))
    assert (fault["field"], fault["value"]) == ("rewiring.kind", rewiring)
    assert "it may be set or dsr" in fault["message"]


def test_a_final_without_validation_needs_to_know_when_averaging_begins():
    averaging = {"kind": "snt_asgd"}
    fault = refusal(spec(training={"averaging": averaging}, confirm={}))
    assert fault["field"] == "training.averaging.start"
    assert "it must be a share of the epochs" in fault["message"]
    examine(spec(training={"averaging": averaging}), None)
    examine(spec(training={"averaging": averaging | {"start": 0.5}}, confirm={}), None)


@pytest.mark.parametrize("field", [{"start": 1.0}, {"start": -0.1}, {"patience": 0}])
def test_an_averaging_out_of_range_is_refused(field):
    with pytest.raises(InvalidSpec, match=r"training\.averaging"):
        spec(training={"averaging": {"kind": "snt_asgd"} | field})


def test_selfish_rnn_is_set_with_a_cosine_and_averages():
    example = parse(json.loads((EXAMPLES / "selfish_rnn.json").read_text()))
    assert example.rewiring == SET(fraction=0.8, removal="magnitude", drop=CosineDrop())
    assert isinstance(example.training.averaging, SNTASGD)


@pytest.mark.parametrize("name", ["lstm", "gru", "selfish_rnn", "snt_asgd"])
def test_every_example_is_accepted(name):
    example = parse(json.loads((EXAMPLES / f"{name}.json").read_text()))
    assert examine(example, None).layers


def trained(spec, assignment, data_dir):
    *_, outcome = trials.perform(spec, Assignment.from_json(json.loads(json.dumps(assignment.to_json()))), data_dir)
    assert isinstance(outcome, Outcome)
    return Outcome.from_json(json.loads(json.dumps(outcome.to_json())))


def reported(spec, data_dir=None):
    """The report of a whole job: search, shortlist, final."""
    problem, storage = examine(spec, data_dir), InMemoryStorage()
    study.create(storage, "study", spec)
    finished = []
    for ordinal in range(spec.search.trials):
        number, assignment = study.ask(storage, "study", spec, problem, ordinal)
        outcome = trained(spec, assignment, data_dir)
        study.tell(storage, "study", spec, number, "complete", outcome)
        finished.append(Finished(assignment, "complete", outcome, number))
    stages = defaultdict(list)
    for each in confirm.shortlist(spec, problem, finished):
        stages["shortlist"].append(Finished(each, "complete", trained(spec, each, data_dir), None))
    for each in confirm.finals(spec, problem, finished, stages["shortlist"]):
        stages["final"].append(Finished(each, "complete", trained(spec, each, data_dir), None))
    return build({}, spec, problem, finished, stages["shortlist"], stages["final"])


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_search_for_densities_reaches_a_verdict(kind):
    training = {"epochs": 2, "optimizer": {"kind": "adam", "lr": 0.01}, "averaging": {"kind": "snt_asgd", "start": 0.5}}
    confirmed = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2}
    asked = spec({"trials": 3}, network={"kind": kind, "units": [12]}, training=training, confirm=confirmed)
    report = reported(asked)
    assert report["verdict"]
    [dense] = {tuple(layer["weight"]) for layer in report["job"]["problem"]["layers"] if "recurrent" in layer["name"]}
    assert dense == ((48, 12) if kind == "lstm" else (36, 12))
    for trial in report["trials"]:
        assert trial["state"] == "complete"
        assert trial["nnz"] == trial["nnz_asked"]
        assert trial["egf_1"] > 0
    totals = {trial["weights"] for trial in report["trials"] if trial["label"] == "sampled"}
    assert len(totals) <= 1
