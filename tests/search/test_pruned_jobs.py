"""Jobs whose networks start dense, lose neurons or are trained again: what their outcomes say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job

from models.networks import MLP
from search import cohorts, study, trials
from search.arms import contestants
from search.candidates import Candidate
from search.points import Assignment, Outcome
from search.problem import examine
from search.spec import parse

EXAMPLES = Path(__file__).parents[2] / "examples" / "methods"


def spec(**changes):
    digits = {"kind": "bundled", "name": "digits", "limit": 300}
    training = {"epochs": 3, "batch_size": 32}
    network = {"kind": "mlp", "widths": [20, 12]}
    budget = {"space": {"kind": "budget", "density": 0.1}}
    return job(budget, data=digits, network=network, training=training, **changes)


def performed(spec, stage="search"):
    problem = examine(spec, None)
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    _, asked = study.ask(storage, "study", spec, problem, 0)
    assignment = Assignment.from_json(asked.to_json() | {"stage": stage})
    *reports, outcome = trials.perform(spec, assignment, None)
    assert isinstance(outcome, Outcome)
    return problem, reports, outcome


@pytest.mark.parametrize("kind", ["one_shot", "gradual", "iterative"])
def test_a_pruned_trial_shows_the_dense_beginning_and_ends_as_asked(kind):
    problem, reports, outcome = performed(spec(rewiring={"kind": kind}))
    total = sum(layer.total for layer in problem.layers)
    assert outcome.nnz == outcome.nnz_asked
    assert outcome.weights == round(0.1 * total)
    assert sum(reports[0].nnz) > outcome.weights
    assert reports[-1].nnz == outcome.nnz


def test_global_pruning_keeps_the_total_asked_and_shares_it_out_itself():
    _, _, outcome = performed(spec(rewiring={"kind": "one_shot", "scope": "global"}))
    assert sum(outcome.nnz) == sum(outcome.nnz_asked) == outcome.weights
    assert outcome.nnz != outcome.nnz_asked


@pytest.mark.parametrize("stage", ["search", "final"])
def test_the_cost_of_a_retrained_network_is_that_of_every_training(stage):
    retraining = {"weights": "rewind", "per_round": 0.5}  # .5, .25, .125, .1: four rounds and the ticket
    _, reports, outcome = performed(spec(rewiring={"kind": "one_shot", "at": 1.0}, retraining=retraining), stage)
    assert outcome.epochs == len(reports) == 3 * 5
    assert [report.epoch for report in reports] == list(range(1, 16))
    assert outcome.seconds == pytest.approx(sum(report.seconds for report in reports))
    assert outcome.nnz == outcome.nnz_asked == reports[12].nnz
    assert [report.loss is None for report in reports] == [stage == "final"] * 14 + [False]


def test_the_dense_arms_are_trained_once():
    asked = spec(rewiring={"kind": "gradual"}, retraining={"weights": "fresh"}, confirm={"seeds": 2})
    problem = examine(asked, None)
    winner = Candidate("trial:1", 1, (128, 24, 12))
    for arm in contestants(asked, problem, winner, None):
        if arm.name in ("dense", "snas"):
            assignment = Assignment("final", 0, 1, arm.name, None, arm.network, arm.rewiring, arm.counts[0])
            *_, outcome = trials.perform(asked, assignment, None)
            assert outcome.epochs == (3 if arm.name == "dense" else 6)
            assert outcome.nnz == arm.counts[0]


def test_without_neurons_the_report_says_what_is_left():
    _, reports, outcome = performed(spec(rewiring={"kind": "neuron_set", "budget": "shrink"}, confirm=None))
    assert outcome.weights < sum(outcome.nnz_asked)
    assert outcome.nnz == reports[-1].nnz


@pytest.mark.parametrize("name", ["one_shot", "gradual", "iterative", "neuron_set", "lottery_ticket"])
def test_the_example_of_each_method_is_a_job_that_is_accepted(name):
    example = parse(json.loads((EXAMPLES / f"{name}.json").read_text()))
    assert examine(example, None).layers
    assert (example.retraining is not None) == (name == "lottery_ticket")


def together(asked, assignments):
    """What `cohorts.perform` says of each point: its epochs, then its outcome."""
    heard = [[] for _ in assignments]
    for said in cohorts.perform(asked, assignments, None):
        for number, what in said.items():
            heard[number].append(what)
    return heard


def points(asked, seeds, counts):
    return [Assignment("search", n, seed, "sampled", n, asked.network, asked.rewiring, counts[n]) for n, seed in seeds]


def test_points_that_are_several_trainings_go_along_in_a_cohort_each_as_if_alone():
    retraining = {"weights": "rewind", "per_round": 0.5}
    asked = spec(rewiring={"kind": "one_shot", "at": 1.0}, retraining=retraining)
    assignments = points(asked, [(0, 4), (1, 5)], [(160, 30, 20), (600, 200, 100)])
    few, many = together(asked, assignments)
    assert [len(few), len(many)] == [3 * 4 + 1, 3 * 3 + 1]
    for heard, assignment in zip((few, many), assignments, strict=True):
        *_, alone = trials.perform(asked, assignment, None)
        assert replace(heard[-1], seconds=0.0) == replace(alone, seconds=0.0)


def test_a_point_of_a_cohort_may_be_stopped_in_any_of_its_trainings():
    asked = spec(rewiring={"kind": "one_shot"}, retraining={"weights": "keep"})
    assignments = points(asked, [(0, 4), (1, 5)], [(160, 30, 20)] * 2)
    said = cohorts.perform(asked, assignments, None)
    assert set(next(said)) == {0, 1}
    for _ in range(3):
        assert set(said.send(())) == {0, 1}
    assert set(said.send((0,))) == {1}
    assert set(next(said)) == {1}
    (outcome,) = next(said).values()
    assert isinstance(outcome, Outcome)
    assert next(said, None) is None


def test_a_cohort_whose_networks_become_compressed_goes_on():
    asked = spec(rewiring={"kind": "one_shot"})
    asked = replace(asked, network=MLP(widths=(400, 300)))
    assignments = points(asked, [(0, 4), (1, 5)], [(2000, 9000, 300)] * 2)
    for heard, assignment in zip(together(asked, assignments), assignments, strict=True):
        *_, alone = trials.perform(asked, assignment, None)
        assert set(alone.storage) == {"compressed"}
        assert heard[-1].nnz == alone.nnz == assignment.counts
        assert heard[-1].storage == alone.storage


def test_points_of_different_jobs_go_together_only_where_nothing_but_their_names_differs():
    asked = spec(rewiring={"kind": "gradual"})
    (point,) = points(asked, [(0, 4)], [(160, 30, 20)])
    kind = cohorts.kind(asked, point)
    assert cohorts.kind(replace(asked, name="another", priority=3), point) == kind
    assert cohorts.kind(spec(rewiring={"kind": "gradual"}, retraining={"weights": "rewind"}), point) != kind
    assert cohorts.kind(spec(rewiring={"kind": "gradual"}, measures=[{"kind": "gap"}]), point) != kind


def test_a_measure_that_fails_ends_its_own_point_alone(monkeypatch):
    asked = spec()
    assignments = points(asked, [(0, 4), (1, 5)], [(160, 30, 20)] * 2)
    outcome, broken = trials.outcome, assignments[0]

    def failing(spec, assignment, split, run):
        if assignment is broken:
            raise MemoryError("no room")
        return outcome(spec, assignment, split, run)

    monkeypatch.setattr(trials, "outcome", failing)
    one, other = together(asked, assignments)
    assert isinstance(one[-1], MemoryError)
    assert isinstance(other[-1], Outcome)
