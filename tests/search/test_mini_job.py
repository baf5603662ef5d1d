"""One small real job on the bundled digits, from ask to verdict, in one process."""

import json
from collections import defaultdict
from dataclasses import asdict, replace

import pytest
from optuna.storages import InMemoryStorage

from models.data import samples
from models.evaluation import Evaluation
from models.rewiring import SET
from search import confirm, early_stopping, remembered, study, trials
from search.points import Assignment, Finished, Outcome
from search.problem import examine, split_seed
from search.remembered import DataChanged
from search.report import build
from search.spec import parse

SPEC = {
    "name": "mini",
    "data": {"kind": "bundled", "name": "digits", "limit": 400},
    "network": {"kind": "mlp", "widths": [16, 12], "keep_dense": []},
    "training": {"epochs": 3, "batch_size": 32},
    "search": {"space": {"kind": "budget", "density": 0.2}, "trials": 7, "stopping": {"kind": "halving", "from": 0.4}},
    "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 5},
    "measures": [{"kind": "gap"}, {"kind": "topology"}],
}


def train(spec, assignment, peers=()):
    """The curves of a run and its outcome, None if it was stopped early."""
    curves = []
    for report in trials.perform(spec, assignment, None):
        if isinstance(report, Outcome):
            return curves, report
        curves.append(asdict(report))
        if assignment.stage == "search" and not early_stopping.goes_on(
            spec, report.epoch, report.loss, sum(report.nnz), peers[report.epoch]
        ):
            return curves, None
    raise AssertionError("a training ends with its outcome")


def run(spec):
    problem = examine(spec, None)
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    finished, peers = [], defaultdict(list)
    for ordinal in range(spec.search.trials):
        number, assignment = study.ask(storage, "study", spec, problem, ordinal)
        assignment = Assignment.from_json(json.loads(json.dumps(assignment.to_json())))
        curves, outcome = train(spec, assignment, peers)
        for epoch in curves:
            peers[epoch["epoch"]].append((sum(epoch["nnz"]), epoch["loss"]))
        state = "complete" if outcome else "pruned"
        study.tell(storage, "study", spec, number, state, outcome)
        finished.append(Finished(assignment, state, outcome, number, tuple(curves)))
    short = [
        Finished(each, "complete", train(spec, each)[1], None) for each in confirm.shortlist(spec, problem, finished)
    ]
    final = [
        Finished(each, "complete", train(spec, each)[1], None)
        for each in confirm.finals(spec, problem, finished, short)
    ]
    report = build({"id": "1"}, spec, problem, finished, short, final)
    return json.loads(json.dumps(report, allow_nan=False))


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key != "seconds"}
    return [without_times(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def report():
    return run(parse(SPEC))


def test_every_trial_has_exactly_the_budget(report):
    assert len(report["trials"]) == 7
    total = round(0.2 * (64 * 16 + 16 * 12 + 12 * 10))
    assert {row["weights"] for row in report["trials"]} == {total}
    assert all(sum(epoch["nnz"]) == total for row in report["trials"] for epoch in row["curves"])


def test_some_trials_are_stopped_after_the_second_of_three_epochs(report):
    states = [row["state"] for row in report["trials"]]
    assert "pruned" in states
    assert all(row["epochs"] == (2 if row["state"] == "pruned" else 3) for row in report["trials"])
    # Four peers are needed before the first can be stopped.
    assert set(states[:4]) == {"complete"}


def test_the_measures_asked_for_are_taken_of_every_network_trained_to_its_end(report):
    for row in report["trials"]:
        assert set(row["measures"]) == ({"gap", "topology"} if row["state"] == "complete" else set())
    for arm in report["confirmation"]["arms"].values():
        for run in arm["runs"]:
            assert -1 <= run["measures"]["gap"]["accuracy_gap"] <= 1
    moved = [row["measures"]["topology"]["moved"] for row in report["trials"] if row["state"] == "complete"]
    assert all(0 < each < 1 for each in moved)


def test_the_confirmation_has_its_arms_and_a_verdict(report):
    shown = report["confirmation"]
    assert {"snas", "dense", "same_capacity", "uniform", "erk", "random"} <= set(shown["arms"])
    for arm in shown["arms"].values():
        assert len(arm["accuracies"]) == 5
    snas = shown["arms"]["snas"]
    assert all(shown["arms"][name]["weights"] == snas["weights"] for name in ("uniform", "erk", "random"))
    assert shown["arms"]["same_capacity"]["weights"] <= snas["weights"]
    assert 0 < shown["p"] <= 1
    assert "equal capacity" in report["verdict"]
    assert "its own starts" in report["verdict"] or "a start" in report["verdict"]


def test_the_same_job_twice_gives_the_same_report(report):
    assert without_times(run(parse(SPEC))) == without_times(report)


def test_another_seed_gives_another_report(report):
    other = run(parse(SPEC | {"seed": 1}))
    assert [row["connections"] for row in other["trials"]] != [row["connections"] for row in report["trials"]]


def assignment(spec, stage):
    return Assignment(stage, 0, 5, "snas", None, spec.network, spec.rewiring, (200, 60, 40))


@pytest.mark.parametrize("stage", ["search", "shortlist", "final"])
def test_the_test_part_is_met_only_in_the_final_stage_and_once(stage, monkeypatch):
    spec = parse(SPEC)
    examine(spec, None)
    touched = []
    remembered._split.cache_clear()
    final_split, evaluate = remembered.final_split, trials.training.Run.evaluate

    def splitting(data):
        touched.append("split")
        return final_split(data)

    def evaluating(run):
        touched.append(len(run.split.held_out))
        return evaluate(run)

    monkeypatch.setattr(remembered, "final_split", splitting)
    monkeypatch.setattr(trials.training.Run, "evaluate", evaluating)
    *_, outcome = trials.perform(spec, assignment(spec, stage), None)
    data = spec.data.load(None, split_seed(spec))
    validation = round(0.2 * len(data.train))
    assert len(data.test) != validation
    assert touched == (["split", len(data.test)] if stage == "final" else [validation] * 3)
    assert outcome.epochs == 3


def test_the_search_never_reads_the_test_part(monkeypatch):
    spec = parse(SPEC)
    data = spec.data.load(None, split_seed(spec))
    unreadable = samples.DataSet(data.name, data.train, None, data.classes, data.hash)
    monkeypatch.setattr(remembered, "load", lambda *_: unreadable)
    for stage in ("search", "shortlist"):
        *_, outcome = trials.perform(spec, assignment(spec, stage), None)
        assert outcome.weights == 300


def test_an_outcome_is_counted_and_comes_back_from_json():
    spec = parse(SPEC)
    *reports, outcome = trials.perform(spec, assignment(spec, "search"), None)
    assert outcome.nnz == outcome.nnz_asked == (200, 60, 40)
    assert (outcome.loss, outcome.accuracy) == (reports[-1].loss, reports[-1].accuracy)
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


def test_a_training_that_diverges_gives_no_outcome():
    spec = parse(SPEC | {"training": {"epochs": 3, "batch_size": 32, "optimizer": {"kind": "sgd", "lr": 1e30}}})
    with pytest.raises(trials.training.Diverged):
        list(trials.perform(spec, assignment(spec, "search"), None))


def test_a_held_out_loss_that_is_no_number_gives_no_outcome(monkeypatch):
    spec = parse(SPEC)
    monkeypatch.setattr(trials.training.Run, "evaluate", lambda _: Evaluation(float("nan"), 0.1, 0.1))
    with pytest.raises(trials.training.Diverged):
        list(trials.perform(spec, assignment(spec, "search"), None))


def test_data_that_changed_since_the_job_was_submitted_is_refused():
    spec = parse(SPEC)
    submitted = examine(spec, None)
    list(trials.perform(spec, assignment(spec, "search"), None, submitted.data_hash))
    with pytest.raises(DataChanged, match="has changed"):
        list(trials.perform(spec, assignment(spec, "search"), None, "0" * 64))


def test_after_a_retraining_the_last_training_is_measured():
    space = {"space": {"kind": "budget", "density": 0.2}, "trials": 1}
    found = parse(SPEC | {"retraining": {"weights": "keep"}, "search": space, "confirm": None})
    examine(found, None)
    *_, outcome = trials.perform(found, replace(assignment(found, "search"), rewiring=SET()), None)
    # It is static: what moved, moved before it began.
    assert outcome.measures["topology"]["moved"] == 0
    assert outcome.epochs == 2 * 3
