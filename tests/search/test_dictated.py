"""Topologies that dictate their counts, and those that look at samples: what a job may ask, and what it comes to."""

import json

import numpy as np
import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job
from test_examine import DIGITS, MLP, refusal, spec
from test_mini_job import run

from models.topologies import Random
from search import starts, study, trials
from search.arms import contestants
from search.candidates import Candidate
from search.faults import InvalidSpec
from search.points import Assignment
from search.problem import examine, problem_from, problem_json
from search.spec import parse

DICTATED = {"space": {"kind": "dictated"}, "trials": 3}
RADIX = {"kind": "radix_net", "systems": [[4, 4]], "widths": [4, 2, 1]}
KEPT = MLP | {"keep_dense": ["output"]}
MINI = {
    "name": "mini",
    "data": {"kind": "bundled", "name": "digits", "limit": 300},
    "network": KEPT,
    "topology": RADIX,
    "rewiring": {"kind": "static"},
    "training": {"epochs": 2, "batch_size": 32},
    "search": DICTATED,
    "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 2},
}
COUNTS = (64 * 8, 32 * 4, 160)


def radix(**changes):
    return spec(DICTATED, network=KEPT, topology=RADIX | changes)


def test_the_problem_carries_the_counts_that_the_topology_dictates():
    problem = examine(radix(), None)
    assert problem.dictated == COUNTS
    assert problem_from(json.loads(json.dumps(problem_json(problem)))) == problem
    assert examine(spec(), None).dictated is None


def test_a_problem_stored_before_topologies_could_dictate_is_read():
    problem = examine(spec(), None)
    stored = problem_json(problem)
    del stored["dictated"]
    assert problem_from(stored) == problem


@pytest.mark.parametrize("space", [{"kind": "free"}, {"kind": "budget", "density": 0.1}])
@pytest.mark.parametrize("topology", [RADIX, {"kind": "erdos_renyi"}, {"kind": "expander"}, {"kind": "given"}])
def test_a_topology_that_dictates_leaves_nothing_to_search(space, topology):
    fault = refusal(spec({"space": space}, network=KEPT, topology=topology))
    assert (fault["field"], fault["value"]) == ("search.space.kind", space["kind"])
    assert f"it must be 'dictated', as the topology {topology['kind']} dictates" in fault["message"]


def test_a_topology_that_does_not_dictate_needs_a_space():
    fault = refusal(spec(DICTATED))
    assert fault["field"] == "search.space.kind"
    assert "the topology random does not dictate densities; it must be 'free' or 'budget'" in fault["message"]


@pytest.mark.parametrize("objective", ["weights", "macs"])
def test_what_is_the_same_in_every_trial_is_no_objective(objective):
    with pytest.raises(InvalidSpec, match="not allowed with dictated densities"):
        spec({**DICTATED, "objectives": ["loss", objective]}, network=KEPT, topology=RADIX)


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (RADIX | {"systems": [[2, 3], [2, 2]], "widths": [1] * 5}, r"\[6, 4\] are not allowed as products"),
        (RADIX | {"systems": [[4, 1]]}, "1 is not allowed; input should be greater than or equal to 2"),
        (RADIX | {"widths": [4, 2]}, "2 radices need 3 widths"),
        ({"kind": "expander", "degrees": []}, "degrees"),
        ({"kind": "erdos_renyi", "epsilon": 0}, "epsilon"),
        ({"kind": "snip", "samples": 0}, "samples"),
        ({"kind": "synflow", "values": "lost"}, "values"),
    ],
)
def test_what_is_no_such_topology_is_refused_before_any_data_is_read(topology, message):
    with pytest.raises(InvalidSpec, match=message):
        spec(DICTATED, topology=topology)


@pytest.mark.parametrize(
    ("topology", "field", "message"),
    [
        (RADIX | {"widths": [4, 3, 1]}, "topology.widths", "fc1 has 32 outputs, which must be 48"),
        (RADIX | {"widths": [3, 2, 1]}, "topology.widths", "fc1 has 64 inputs, which must be 48"),
        (RADIX | {"systems": [[16]], "widths": [4, 2]}, "topology.systems", "2 layers are not kept dense (fc1, fc2)"),
        ({"kind": "expander", "degrees": [65]}, "topology.degrees", "65 is not allowed for fc1"),
        ({"kind": "expander", "degrees": [1]}, "topology.degrees", "between 2, which links all of 64 units to 32"),
        ({"kind": "erdos_renyi", "epsilon": 0.001}, "topology.epsilon", "leaves fc1 no connection"),
        ({"kind": "given", "file": "nothing.npz"}, "topology.file", "is not in the data directory"),
        ({"kind": "given", "file": "../x.npz"}, "topology.file", "must be a path inside the data directory"),
    ],
)
def test_a_topology_that_does_not_fit_the_network_is_refused(topology, field, message, tmp_path):
    fault = refusal(spec(DICTATED, network=KEPT, topology=topology), tmp_path)
    assert (fault["field"], fault["value"]) == (field, topology[field.removeprefix("topology.")])
    assert message in fault["message"]


@pytest.mark.parametrize(
    ("topology", "field"),
    [
        ({"kind": "snip", "samples": 5000}, "samples"),
        ({"kind": "obd", "samples": 5000}, "samples"),
        ({"kind": "grasp", "per_class": 500}, "per_class"),
    ],
)
def test_more_samples_than_the_search_trains_on_are_refused(topology, field):
    fault = refusal(spec(data=DIGITS, topology=topology))
    assert (fault["field"], fault["value"]) == (f"topology.{field}", topology[field])


def test_every_trial_has_the_dictated_counts_and_its_own_seed():
    asked = radix()
    problem = examine(asked, None)
    storage = InMemoryStorage()
    study.create(storage, "study", asked)
    found = [study.ask(storage, "study", asked, problem, ordinal)[1] for ordinal in (0, 1, 2, 1)]
    assert {each.counts for each in found} == {COUNTS}
    assert len({each.seed for each in found}) == 3
    assert found[1] == found[3]
    assert starts.starts(asked, problem.layers) == ()


def test_arms_with_other_counts_start_at_random_connections():
    asked = radix()
    problem = examine(asked, None)
    arms = {arm.name: arm for arm in contestants(asked, problem, Candidate("trial:0", 0, COUNTS), None)}
    assert {name: arm.topology for name, arm in arms.items()} == {
        "snas": None,
        "dense": None,
        "same_capacity": None,
        "uniform": Random(),
        "erk": Random(),
        "random": Random(),
    }
    for name in ("uniform", "erk", "random"):
        assert {sum(counts) for counts in arms[name].counts} == {sum(COUNTS)}
    scored = spec(topology={"kind": "snip"})
    others = contestants(scored, examine(scored, None), Candidate("trial:0", 0, COUNTS), None)
    assert {arm.topology for arm in others} == {None}


def test_an_arm_with_the_counts_of_the_winner_and_another_topology_has_runs_of_its_own():
    asked = job(DICTATED, data=DIGITS, network=KEPT, topology={"kind": "expander", "degrees": [8, 8]})
    problem = examine(asked, None)
    uniform = tuple(layer.total for layer in problem.layers)
    arms = contestants(asked, problem, Candidate("trial:0", 0, uniform), None)
    by_name = {arm.name: arm for arm in arms}
    assert by_name["uniform"].counts == by_name["snas"].counts
    assert by_name["uniform"].same_as is None
    assert by_name["erk"].same_as == "uniform"


@pytest.fixture(scope="module")
def report():
    return run(parse(MINI))


def test_a_dictated_job_runs_to_its_verdict(report):
    assert {tuple(row["nnz"]) for row in report["trials"]} == {COUNTS}
    assert len({row["seed"] for row in report["trials"]}) == 3
    assert len({row["connections"] for row in report["trials"]}) == 1  # there is no chance in a RadiX-Net
    arms = report["confirmation"]["arms"]
    assert all(arms[name]["weights"] == sum(COUNTS) for name in ("snas", "uniform", "erk", "random"))
    of_their_own = {name: arm["topology"] for name, arm in arms.items() if arm["topology"]}
    assert of_their_own == dict.fromkeys(("uniform", "erk", "random"), "random")
    assert arms["dense"]["weights"] == 64 * 32 + 32 * 16 + 160
    assert len(report["confirmation"]["shortlist"]) == 1
    assert "its space contains none" in report["verdict"]


def test_an_assignment_carries_its_topology_through_json():
    asked = parse(MINI)
    given = Assignment("final", 0, 1, "erk", None, asked.network, asked.rewiring, COUNTS, Random())
    assert Assignment.from_json(json.loads(json.dumps(given.to_json()))) == given
    old = given.to_json()
    del old["topology"]
    assert Assignment.from_json(old).topology is None


def test_a_given_file_is_found_in_the_data_directory(tmp_path):
    counts = {"fc1": 20, "fc2": 30, "output": 40}
    np.savez(tmp_path / "mine.npz", **{name: np.arange(count) for name, count in counts.items()})
    asked = parse(MINI | {"network": MLP, "topology": {"kind": "given", "file": "mine.npz"}, "confirm": None})
    problem = examine(asked, tmp_path)
    assert problem.dictated == (20, 30, 40)
    point = Assignment("search", 0, 1, "sampled", 0, asked.network, asked.rewiring, problem.dictated)
    *_, outcome = trials.perform(asked, point, tmp_path)
    assert outcome.nnz == (20, 30, 40)
