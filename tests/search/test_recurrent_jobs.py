"""Jobs of recurrent networks: what is refused, and small ones from the search to a verdict."""

import json
import math
from collections import defaultdict
from dataclasses import replace
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
    assert all(each["perplexity"] is None for each in (*report["pareto"], *report["trials"]))


# Texts


SQUARES = "".join(f"{number * number} is {number} squared; " for number in range(60))
MODEL = {"kind": "language_model", "embedding": 6, "units": [10]}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "squares.txt").write_text(SQUARES)
    return tmp_path


def text(search=None, **changes):
    data = {"kind": "text", "name": "squares.txt", "steps": 5, "validation": 0.2, "test": 0.2}
    training = {"epochs": 2, "batch_size": 8, "optimizer": {"kind": "adam", "lr": 0.01}, "clip": 1.0}
    return spec(search, **({"data": data, "network": MODEL, "training": training} | changes))


@pytest.mark.parametrize("tied", [False, True])
def test_a_search_on_a_text_reaches_a_verdict(tied, folder):
    confirmed = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["dense", "same_capacity", "uniform"]}
    network = MODEL | ({"units": [12, 6], "tied": True} if tied else {})
    report = reported(text({"objectives": ["perplexity"]}, network=network, confirm=confirmed), folder)
    assert report["verdict"]
    names = [layer["name"] for layer in report["job"]["problem"]["layers"]]
    assert ("embedding" in names) != tied
    for trial in report["trials"]:
        assert trial["nnz"] == trial["nnz_asked"]
        assert trial["perplexity"] == pytest.approx(math.exp(trial["loss"]))
        assert trial["egf_2"] > 0
    for point in report["pareto"]:
        assert point["perplexity"] == pytest.approx(math.exp(point["loss"]))


def test_other_data_have_no_perplexity():
    fault = refusal(spec({"objectives": ["perplexity"]}))
    assert (fault["field"], fault["value"]) == ("search.objectives", ["perplexity"])
    assert _trial_of(spec())["perplexity"] is None


def _trial_of(asked):
    return reported(asked)["trials"][0]


def test_a_loss_without_bounds_has_an_infinite_perplexity(folder):
    problem, storage = examine(text(), folder), InMemoryStorage()
    study.create(storage, "study", text())
    outcome = trained(text(), study.ask(storage, "study", text(), problem, 0)[1], folder)
    assert replace(outcome, loss=1e6).perplexity == math.inf


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"network": {"kind": "mlp"}}, "network.kind", "it must be language_model"),
        ({"network": {"kind": "lstm"}}, "network.kind", "it must be language_model"),
        ({"data": {"kind": "bundled"}}, "network.kind", "the data are bundled, not text"),
        ({"training": {"loss": "mse", "batch_size": 8}}, "training.loss", "it must be cross_entropy"),
        ({"search": {"objectives": ["loss", "latency"]}}, "search.objectives", "latency is not measured on a text"),
        (
            {"search": {"space": {"kind": "budget", "density": 0.5}, "starts": ["erk", "snip"]}},
            "search.starts",
            "snip looks at samples one by one",
        ),
        ({"measures": [{"kind": "gap"}]}, "measures", "none of them is taken on a text"),
        ({"training": {"batch_size": 500}}, "training.batch_size", "it must be at most 146, the windows"),
        ({"topology": {"kind": "snip"}}, "topology.kind", "it must be random"),
        ({"rewiring": {"kind": "rigl", "every": 2}}, "rewiring.kind", "it may be set or dsr"),
        ({"training": {"augmentation": {"flip": True}, "batch_size": 8}}, "training.augmentation", "needs images"),
        ({"data": {"kind": "text", "name": "circles.txt"}}, "data.name", "is not in the data directory"),
        ({"data": {"kind": "text", "name": "squares.txt", "steps": 900}}, "data.steps", "the test part has 57"),
        ({"data": {"kind": "text", "name": "squares.txt", "validation": 0.001}}, "data.validation", "holds out 0"),
    ],
)
def test_what_does_not_go_with_a_text_is_refused(changes, field, words, folder):
    fault = refusal(text(**changes), folder)
    assert fault["field"] == field
    assert words in fault["message"]


def test_a_clip_of_nothing_is_refused():
    with pytest.raises(InvalidSpec, match=r"training\.clip"):
        spec(training={"clip": 0})


def test_the_example_on_a_text_is_accepted():
    example = parse(json.loads((EXAMPLES / "text.json").read_text()))
    assert examine(example, EXAMPLES).layers
