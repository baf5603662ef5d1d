"""Verdicts from made-up finals: what the report says, and what it recommends."""

import json

import pytest
from search_stubs import complete, failed, job, problem, searched

from search import confirm
from search.report import build
from search.verdict import _lengths

ERK = (18_714, 6_906, 1_000)
ONE = (20_000, 6_000, 620)
NOISE = [0.000, 0.002, 0.001, 0.004, 0.003, 0.005, 0.007, 0.006]


def reported(given, first=ONE, seeds=8, lost=(), search=None, **changes):
    """The report of a job whose arms had these accuracies, one for each seed."""
    spec = job({"trials": 2, **(search or {})}, confirm={"shortlist_seeds": 2, "seeds": seeds, **changes})
    trials = searched(spec, [(first, 0.99), ((15_000, 11_000, 620), 0.2)])
    wins = {True: 0.9, False: 0.5}
    short = [
        complete(spec, each, wins[each.counts == first]) for each in confirm.shortlist(spec, problem(spec), trials)
    ]
    final = []
    for each in confirm.finals(spec, problem(spec), trials, short):
        number = each.ordinal * seeds // len(confirm.finals(spec, problem(spec), trials, short))
        run = complete(spec, each, given.get(each.label, [0.5] * seeds)[number])
        final.append(failed(run) if (each.label, number) in lost else run)
    report = build({"id": "1"}, spec, problem(spec), trials, short, final)
    json.dumps(report, allow_nan=False)
    return report


def level(accuracy, noise=NOISE):
    return [accuracy + each for each in noise]


def test_sparse_beats_dense_at_equal_capacity():
    report = reported({"snas": level(0.97), "same_capacity": level(0.95, NOISE[::-1])})
    assert report["confirmation"]["p"] == 1 / 256
    assert report["confirmation"]["test"]["exact"]
    assert report["verdict"].startswith(
        "At equal capacity sparse beats dense: 97.35 ± 0.24 % with 26,620 sparse weights against "
        "95.35 ± 0.24 % with 26,345 dense weights (8 seeds, one-sided paired Wilcoxon p = 0.0039)."
    )


def test_sparse_does_not_beat_dense_when_it_is_no_better():
    report = reported({"snas": level(0.95), "same_capacity": level(0.97)})
    assert report["confirmation"]["p"] == 1.0
    assert report["verdict"].startswith("At equal capacity sparse does not beat dense: 95.35")


def test_equal_arms_give_p_of_one():
    report = reported({"snas": level(0.95), "same_capacity": level(0.95)})
    assert report["confirmation"]["p"] == 1.0
    assert report["confirmation"]["test"]["zeros"] == 8


def test_no_verdict_is_possible_with_four_seeds():
    report = reported({"snas": level(0.97)[:4], "same_capacity": level(0.5)[:4]}, seeds=4)
    assert report["verdict"].startswith(
        "No verdict is possible with 4 seeds, where the smallest p of the test is 0.0625"
    )
    assert report["confirmation"]["p"] == 1 / 16


def test_no_comparison_with_dense_where_none_was_asked():
    report = reported({"snas": level(0.97)}, arms=["dense", "erk"])
    assert report["confirmation"]["p"] is None
    assert report["confirmation"]["test"] is None
    assert "the job has no same_capacity arm" in report["verdict"]


def test_no_comparison_with_dense_where_no_dense_network_is_small_enough():
    report = reported({"snas": level(0.97)}, first=(310, 170, 20), search={"space": {"kind": "budget", "weights": 500}})
    assert "same_capacity" not in report["confirmation"]["arms"]
    assert "even with one unit in each hidden layer the dense network has more than 500 weights" in report["verdict"]


def test_the_search_beat_its_starts():
    report = reported({"snas": level(0.97), "erk": level(0.95, NOISE[::-1])})
    against = report["confirmation"]["against_starts"]
    assert against["interval"][0] > 0
    assert (against["start"], against["arm"], against["recommended"]) == ("erk", "erk", "snas")
    assert (
        "The search beat its own starts: +2.00 points (95 % interval +1.61 to +2.39) above the best of them, erk"
        in (report["verdict"])
    )


def test_an_interval_that_includes_zero_recommends_the_start():
    report = reported({"snas": level(0.951), "erk": level(0.95, NOISE[::-1])})
    against = report["confirmation"]["against_starts"]
    assert against["difference"] > 0
    assert against["interval"][0] < 0 < against["interval"][1]
    assert against["recommended"] == "erk"
    assert "The search did not beat its own starts" in report["verdict"]
    assert (
        "which includes 0) from the best of them; recommended is that start, which costs no search: erk (95.35"
        in (report["verdict"])
    )
    assert "26,620 multiply-adds" in report["verdict"]


def test_a_search_that_was_worse_than_its_start_says_so():
    report = reported({"snas": level(0.90), "erk": level(0.95, NOISE[::-1])})
    assert report["confirmation"]["against_starts"]["recommended"] == "erk"
    assert "The search was worse than its own start" in report["verdict"]


def test_a_winner_that_is_a_start_did_not_beat_the_starts():
    report = reported({"snas": level(0.95)}, first=ERK)
    against = report["confirmation"]["against_starts"]
    assert (against["winner_is_start"], against["difference"], against["start"]) == (True, None, "erk")
    assert report["confirmation"]["arms"]["erk"]["same_as"] == "snas"
    assert report["confirmation"]["arms"]["erk"]["accuracies"] == report["confirmation"]["arms"]["snas"]["accuracies"]
    assert "The search did not beat its own starts: the winner is one of them, erk (95.35" in report["verdict"]


def test_a_failed_run_leaves_its_pair_out_and_is_told():
    arms = {"snas": level(0.97), "same_capacity": level(0.95)}
    report = reported(arms, lost=[("same_capacity", 3)])
    assert report["confirmation"]["test"]["pairs"] == 7
    assert report["confirmation"]["arms"]["same_capacity"]["failed"] == 1
    assert "Left out as they failed: 1 run of same_capacity." in report["verdict"]


def test_a_winner_all_of_whose_finals_failed_is_not_confirmed():
    report = reported({}, seeds=2, lost=[("snas", 0), ("snas", 1)])
    assert report["verdict"] == "Nothing could be confirmed: every final run of the winner failed."
    assert report["confirmation"]["against_starts"] is None


def test_other_comparisons_are_exploratory_and_corrected():
    report = reported({"snas": level(0.97), "erk": level(0.95), "uniform": level(0.90), "random": level(0.97)})
    found = report["confirmation"]["exploratory"]
    assert set(found) == {"dense", "uniform", "erk", "random"}
    assert found["erk"]["difference"] == pytest.approx(0.02)
    assert found["erk"]["p"] == 2 / 256
    assert found["erk"]["p_holm"] == pytest.approx(4 * 2 / 256)
    assert found["random"]["p_holm"] == 1.0


def test_arms_show_what_they_weigh():
    arms = reported({})["confirmation"]["arms"]
    assert list(arms) == ["snas", "dense", "same_capacity", "uniform", "erk", "random", "start"]
    assert arms["same_capacity"]["widths"] == [33, 11]
    assert arms["same_capacity"]["weights"] == 26_345
    assert arms["dense"]["macs"] == 266_200
    assert arms["start"]["same_as"] == "erk"
    assert len(arms["snas"]["runs"]) == len(arms["snas"]["accuracies"]) == 8


def test_arms_trained_for_different_lengths_are_said_to_be():
    class Trained:
        def __init__(self, epochs):
            self.epochs = epochs

        def average(self, field):
            assert field == "epochs"
            return self.epochs

    assert _lengths(Trained(4), Trained(4)) == ""
    assert "sparse 4 epochs in all, dense 2" in _lengths(Trained(4), Trained(2))
