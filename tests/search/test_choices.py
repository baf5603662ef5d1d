"""What a job may vary beside densities: how it is said, what is refused, and what a trial gets."""

import json
import math

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job, outcome, problem

from models.optimizers import SGD, Adam
from models.rewiring import SET, Static
from models.types import kind_of, members
from search import cohorts, study
from search.choices import Choices
from search.faults import InvalidSpec
from search.points import Assignment
from search.problem import examine
from search.regimes import applied, own_params, settings
from search.sampler_settings import AnySampler
from search.spec import dump, json_schema, parse

DIGITS = {"kind": "bundled", "name": "digits"}
CHOICES = {
    "training.optimizer.lr": {"low": 0.01, "high": 0.16, "scale": "log"},
    "rewiring": [{"kind": "static"}, {"kind": "set", "fraction": 0.2}],
    "network.activation": ["relu", "silu"],
}


def varying(choices, **search):
    return job({"choices": choices, **search}, data=DIGITS)


def points(spec, storage=None):
    storage = storage or InMemoryStorage()
    study.create(storage, "study", spec)
    found = []
    for ordinal in range(spec.search.trials):
        number, assignment = study.ask(storage, "study", spec, problem(spec), ordinal)
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.5 + ordinal / 100))
        found.append(assignment)
    return found


def test_choices_come_back_from_their_json_the_shorter_paths_first():
    spec = varying(CHOICES)
    assert parse(json.loads(json.dumps(dump(spec)))) == spec
    assert dump(spec)["search"]["choices"] == CHOICES
    assert [path for path, _ in spec.search.choices] == ["rewiring", "network.activation", "training.optimizer.lr"]
    assert dump(job())["search"]["choices"] == {}
    assert "training" not in json.dumps(json_schema()["$defs"]["Search"]["properties"]["choices"])
    hash(spec)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("rewiring", [{"kind": "set"}], "at least 2"),
        ("rewiring", [{"kind": "set"}, {"kind": "set"}], "twice"),
        ("rewiring", "set", "a list of values or {low, high, scale}"),
        ("training.optimizer.lr", {"low": 0.2, "high": 0.1}, "less than high"),
        ("training.optimizer.lr", {"low": 0, "high": 0.1, "scale": "log"}, "greater than 0"),
        ("training.optimizer.lr", {"low": 0.1, "high": "x"}, "finite number"),
        ("training.optimizer.lr", {"low": 0.1}, "finite number"),
        ("training.optimizer.lr", {"low": 0.1, "high": 1, "scale": "cubic"}, "log or linear"),
        ("training.optimizer.lr", {"low": 0.1, "high": 1, "step": 0.1}, "unknown field"),
    ],
)
def test_a_choice_that_is_none_is_refused_with_its_path(path, value, words):
    with pytest.raises(InvalidSpec) as caught:
        varying({path: value})
    (fault,) = caught.value.faults
    assert (fault["field"], fault["value"]) == (f"search.choices.{path}", value)
    assert words in fault["message"]


@pytest.mark.parametrize("path", ["data.name", "seed", "search.trials", "confirm.seeds", ""])
def test_only_parts_of_a_training_may_vary(path):
    with pytest.raises(InvalidSpec, match="begins with one of topology, rewiring, network, training"):
        varying({path: ["digits", "iris"]})


@pytest.mark.parametrize(
    ("choices", "path", "value", "words"),
    [
        ({"training.colour": [1, 2]}, "training.colour", 1, "unknown field"),
        ({"training.optimizer.colour.hue": [1, 2]}, "training.optimizer.colour.hue", 1, "no training.optimizer.colour"),
        ({"network.activation": ["relu", "tanhh"]}, "network.activation", "tanhh", "relu"),
        ({"rewiring": [{"kind": "static"}, {"kind": "nothing"}]}, "rewiring", {"kind": "nothing"}, "rewiring.kind"),
        ({"training.optimizer.lr": {"low": -0.1, "high": 0.1}}, "training.optimizer.lr", -0.1, "greater than"),
        ({"training.batch_size": {"low": 32, "high": 64.5}}, "training.batch_size", None, "integer"),
        # Its ends and its middle are whole numbers, what lies between is not.
        ({"training.batch_size": {"low": 16, "high": 128}}, "training.batch_size", None, "integer"),
        ({"training.loss": ["cross_entropy", "mse"]}, "training.loss", "mse", "compared by it"),
        ({"training.epochs": [2, 3]}, "training.epochs", 3, "epoch by epoch"),
        ({"network": [{"kind": "lenet_300_100"}, {"kind": "mlp", "widths": [9]}]}, "network", None, "layers"),
        ({"topology": [{"kind": "random"}, {"kind": "erdos_renyi"}]}, "topology", {"kind": "erdos_renyi"}, "dictated"),
        ({"network.keep_dense": [[], ["fc1"]]}, "network.keep_dense", ["fc1"], "cannot vary"),
        (
            {"training.optimizer": [{"kind": "sgd"}, {"kind": "adam"}], "training.optimizer.momentum": [0.5, 0.9]},
            "training.optimizer.momentum",
            0.5,
            "unknown field",
        ),
    ],
)
def test_every_combination_is_tried_when_a_job_is_submitted(choices, path, value, words):
    spec = job({"choices": choices}, data=DIGITS, training={"epochs": 2})
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, None)
    fault = caught.value.faults[0]
    assert fault["field"] == f"search.choices.{path}"
    assert value is None or fault["value"] == value
    assert words in fault["message"]


def test_a_varied_job_passes_what_only_its_data_can_show():
    spec = job({"choices": {"training.augmentation.flip": [False, True]}}, data={"kind": "bundled", "name": "iris"})
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, None)
    (fault,) = caught.value.faults
    assert (fault["field"], fault["value"]) == ("search.choices.training.augmentation.flip", True)
    assert fault["message"].startswith("training.augmentation: ")


def test_too_many_combinations_are_refused_with_their_number():
    values = list(range(1, 14))
    shares = [value / 20 for value in values]
    choices = {"training.batch_size": values, "rewiring.fraction": shares, "network.dropout": shares}
    with pytest.raises(InvalidSpec, match="2197 combinations"):
        examine(varying(choices), None)


def test_a_path_is_set_in_the_part_that_was_chosen():
    optimizers = [{"kind": "sgd", "lr": 0.5}, {"kind": "adam", "lr": 0.5}]
    choices = {"training.optimizer": optimizers, "training.optimizer.lr": [0.1, 0.2]}
    spec = varying(choices, sampler={"kind": "random"}, trials=20)
    examine(spec, None)
    found = {applied(spec, each.regime).training.optimizer for each in points(spec)}
    assert found <= {SGD(lr=0.1), SGD(lr=0.2), Adam(lr=0.1), Adam(lr=0.2)}
    assert len(found) == 4


def test_each_trial_has_settings_out_of_the_choices_and_exactly_the_budget():
    spec = varying(CHOICES, trials=24)
    found = points(spec)
    assert {each.rewiring for each in found} == {Static(), SET(fraction=0.2)}
    assert {each.network.activation for each in found} == {"relu", "silu"}
    for each in found:
        varied = applied(spec, each.regime)
        assert sum(each.counts) == 26_620
        assert (each.network, each.rewiring) == (varied.network, varied.rewiring)
        assert 0.01 <= varied.training.optimizer.lr <= 0.16
        assert not varied.search.choices
        assert set(settings(each.regime)) == set(CHOICES)
        assert Assignment.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_the_starts_have_the_jobs_own_settings_where_these_are_among_the_choices():
    spec = varying(CHOICES)  # SGD's own lr is 0.05, the job's activation relu; SET(0.3) is not among the rewirings
    first = points(spec)[0]
    assert first.label == "start:erk"
    assert settings(first.regime) == {
        "rewiring": {"kind": "static"},
        "network.activation": "relu",
        "training.optimizer.lr": spec.training.optimizer.lr,
    }
    shorter = varying({"rewiring": [{"kind": "static"}, {"kind": "set"}], "network.batch_norm": [True, False]})
    assert own_params(shorter) == {"rewiring": '{"kind": "set"}', "network.batch_norm": "false"}
    elsewhere = varying({"training.optimizer.lr": {"low": 1e-4, "high": 1e-2, "scale": "log"}})
    assert own_params(elsewhere) == {"training.optimizer.lr": pytest.approx(1e-3)}


@pytest.mark.parametrize("kind", [kind_of(each) for each in members(AnySampler)])
def test_every_sampler_varies_settings_and_repeats_itself(kind):
    spec = varying(CHOICES, sampler={"kind": kind}, trials=9)
    found = points(spec)
    assert points(spec) == found
    assert len({each.regime for each in found}) > 4


def test_tpe_finds_the_better_setting():
    spec = varying(CHOICES, trials=30)
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    chosen = []
    for ordinal in range(30):
        number, assignment = study.ask(storage, "study", spec, problem(spec), ordinal)
        varied = applied(spec, assignment.regime)
        far = abs(math.log(varied.training.optimizer.lr / 0.1)) + (varied.network.activation != "silu")
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.5, far))
        chosen.append(varied.network.activation == "silu")
    assert sum(chosen[-10:]) >= 8


def test_of_topologies_that_dictate_only_those_with_the_same_counts_vary_together():
    def dictated(*densities):
        topologies = [{"kind": "erdos_renyi", "epsilon": epsilon} for epsilon in densities]
        choices = {"topology": topologies, "training.optimizer.lr": [0.01, 0.1]}
        return job({"space": {"kind": "dictated"}, "choices": choices}, data=DIGITS, topology=topologies[0])

    with pytest.raises(InvalidSpec, match="those of all trials are"):
        examine(dictated(2, 3), None)
    settings_alone = job(
        {"space": {"kind": "dictated"}, "choices": {"training.optimizer.lr": [0.01, 0.1]}, "trials": 6},
        data=DIGITS,
        topology={"kind": "erdos_renyi"},
    )
    found = examine(settings_alone, None)
    storage = InMemoryStorage()
    study.create(storage, "study", settings_alone)
    asked = [study.ask(storage, "study", settings_alone, found, ordinal)[1] for ordinal in range(6)]
    assert {each.counts for each in asked} == {found.dictated}
    assert len({each.regime for each in asked}) == 2


def test_a_job_without_choices_is_itself():
    spec = job()
    assert applied(spec, ()) == spec
    assert Choices() == spec.search.choices


def test_only_points_of_one_recipe_and_one_topology_are_trained_in_lockstep():
    choices = {"training.optimizer.lr": [0.01, 0.1], "topology": [{"kind": "random"}, {"kind": "snip"}]}
    spec = varying(choices, sampler={"kind": "random"}, trials=12)
    found = points(spec)
    kinds = {cohorts.kind(spec, each) for each in found}
    assert len(kinds) == len({each.regime for each in found}) == 4
