import json

import pytest
from search_stubs import complete, failed, job, problem, searched

from search import confirm
from search.points import Finished
from search.report import build

ERK = (18_714, 6_906, 1_000)
ONE, TWO = (20_000, 6_000, 620), (15_000, 11_000, 620)
EPOCH = {"epoch": 1, "loss": 0.7, "accuracy": 0.6, "balanced_accuracy": 0.5, "nnz": [9, 8, 7], "seconds": 2.0}


def report(spec, finished=(), shortlisted=(), finals=()):
    built = build({"id": "a1", "name": spec.name}, spec, problem(spec), finished, shortlisted, finals)
    return json.loads(json.dumps(built, allow_nan=False))


def test_a_job_that_has_not_begun_has_a_report():
    found = report(job())
    assert (found["pareto"], found["trials"], found["confirmation"], found["verdict"]) == ([], [], None, None)
    assert found["job"]["id"] == "a1"
    assert found["job"]["spec"]["search"]["trials"] == 12
    assert [layer["name"] for layer in found["job"]["problem"]["layers"]] == ["fc1", "fc2", "output"]


def test_a_trial_shows_measured_numbers_beside_those_asked():
    spec = job()
    (trial,) = searched(spec, [(ONE, 0.9)])
    (row,) = report(spec, [trial])["trials"]
    assert (row["number"], row["state"], row["weights"], row["macs"]) == (0, "complete", 26_620, 26_620)
    assert row["densities"] == [20_000 / 235_200, 6_000 / 30_000, 620 / 1_000]
    assert row["nnz_asked"] == row["nnz"] == list(ONE)
    assert (row["accuracy"], row["egf_1"], row["seconds"], row["storage"]) == (0.9, 1.0, 1.0, ["masked"])


def test_a_stopped_trial_shows_its_last_epoch():
    spec = job()
    (trial,) = searched(spec, [(ONE, 0.9)])
    (row,) = report(spec, [Finished(trial.assignment, "pruned", None, 0, (EPOCH,))])["trials"]
    assert (row["state"], row["nnz"], row["weights"], row["loss"]) == ("pruned", [9, 8, 7], 24, 0.7)
    assert row["nnz_asked"] == list(ONE)


def test_a_diverged_trial_is_strict_json():
    spec = job()
    (trial,) = searched(spec, [(ONE, 0.9)])
    curves = ({**EPOCH, "loss": float("nan"), "train_loss": float("inf")},)
    (row,) = report(spec, [Finished(trial.assignment, "failed", None, 0, curves, "the loss is nan")])["trials"]
    assert (row["error"], row["loss"], row["curves"][0]["train_loss"]) == ("the loss is nan", None, None)


def test_trials_come_by_number_and_the_front_by_size():
    spec = job({"space": {"kind": "free"}, "objectives": ["loss", "weights"]})
    trials = searched(spec, [((90, 90, 90), 0.9), ((10, 10, 10), 0.5), ((95, 90, 90), 0.8), ((50, 50, 50), 0.7)])
    found = report(spec, trials[::-1])
    assert [row["number"] for row in found["trials"]] == [0, 1, 2, 3]
    assert [(row["trial"], row["weights"]) for row in found["pareto"]] == [(1, 30), (3, 150), (0, 270)]


@pytest.mark.parametrize("missing", ["a trial", "a shortlist run", "a final run", "nothing"])
def test_the_verdict_comes_with_the_last_run(missing):
    spec = job({"trials": 2}, confirm={"shortlist": 2, "shortlist_seeds": 2, "seeds": 2})
    trials = searched(spec, [(ERK, 0.5), (ONE, 0.9)])
    short = [complete(spec, each, 0.8) for each in confirm.shortlist(spec, problem(spec), trials)]
    final = [complete(spec, each, 0.8) for each in confirm.finals(spec, problem(spec), trials, short)]
    stages = {
        "a trial": (trials[:1], [], []),
        "a shortlist run": (trials, short[:-1], []),
        "a final run": (trials, short, final[:-1]),
        "nothing": (trials, short, final),
    }
    found = report(spec, *stages[missing])
    assert (found["verdict"] is not None) is (missing == "nothing")
    assert (found["confirmation"] is not None) is (missing == "nothing")


def test_a_job_none_of_whose_trials_completed_says_so():
    spec = job({"trials": 2})
    trials = [failed(each) for each in searched(spec, [(ERK, 0.5), (ONE, 0.9)])]
    found = report(spec, trials)
    assert found["confirmation"] is None
    assert found["verdict"] == "Nothing could be confirmed: no trial or no run of the shortlist completed."


def test_a_job_without_confirmation_has_no_verdict():
    spec = job({"trials": 1}, confirm=None)
    found = report(spec, searched(spec, [(ONE, 0.9)]))
    assert (found["confirmation"], found["verdict"]) == (None, None)


def test_the_searchs_own_score_is_not_the_confirmed_one():
    spec = job({"trials": 1}, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2})
    trials = searched(spec, [(ONE, 0.99)])
    short = [complete(spec, each, 0.8) for each in confirm.shortlist(spec, problem(spec), trials)]
    final = [complete(spec, each, 0.7) for each in confirm.finals(spec, problem(spec), trials, short)]
    shown = report(spec, trials, short, final)["confirmation"]
    assert shown["shortlist"][0]["mean"] == pytest.approx(0.8)
    assert shown["arms"]["snas"]["mean"] == pytest.approx(0.7)
    assert "0.99" not in json.dumps(shown)
