import pytest
from search_stubs import complete, failed, job, problem, searched

from models.networks import MLP
from models.rewiring import Static
from models.seeds import derive
from search import confirm

ERK = (18_714, 6_906, 1_000)
ONE, TWO = (20_000, 6_000, 620), (15_000, 11_000, 620)
CONFIRM = {"shortlist": 2, "shortlist_seeds": 2, "seeds": 5}


def shortlisted(spec, trials, accuracies):
    """Runs of the shortlist: the accuracies of each label, seed by seed."""
    left = {label: list(values) for label, values in accuracies.items()}
    asked = confirm.shortlist(spec, problem(spec), trials)
    return [complete(spec, each, left[each.label].pop(0)) for each in asked]


def winner(spec, trials, accuracies):
    return confirm.winner(spec, confirm.standings(spec, problem(spec), trials, shortlisted(spec, trials, accuracies)))


def test_the_value_that_the_search_saw_does_not_count():
    spec = job(confirm=CONFIRM)
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    found = winner(spec, trials, {"trial:0": [0.7, 0.7], "trial:1": [0.8, 0.8], "start:erk": [0.6, 0.6]})
    assert found.candidate.label == "trial:1"
    assert found.mean == pytest.approx(0.8)


def test_a_network_that_collapsed_once_loses_to_a_steady_one():
    spec = job(confirm={**CONFIRM, "shortlist_seeds": 3})
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    found = winner(spec, trials, {"trial:0": [0.95, 0.95, 0.5], "trial:1": [0.79, 0.8, 0.79], "start:erk": [0.6] * 3})
    assert found.candidate.label == "trial:1"


def test_a_candidate_whose_run_failed_ranks_last():
    spec = job(confirm=CONFIRM)
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    runs = shortlisted(spec, trials, {"trial:0": [0.95, 0.95], "trial:1": [0.8, 0.8], "start:erk": [0.6, 0.6]})
    runs = [failed(each) if each.assignment.ordinal == 0 else each for each in runs]
    ranked = confirm.standings(spec, problem(spec), trials, runs)
    assert [each.candidate.label for each in ranked] == ["trial:1", "start:erk", "trial:0"]


def test_a_chosen_trial_wins_even_against_a_better_start():
    spec = job(confirm={**CONFIRM, "choose": {"kind": "trial", "trial": 1}})
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    found = winner(spec, trials, {"trial:1": [0.5, 0.5], "start:erk": [0.9, 0.9]})
    assert found.candidate.trial == 1


def test_nothing_is_confirmed_when_the_chosen_trial_never_completes():
    spec = job(confirm={**CONFIRM, "choose": {"kind": "trial", "trial": 1}})
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    runs = shortlisted(spec, trials, {"trial:1": [0.5, 0.5], "start:erk": [0.9, 0.9]})
    runs = [failed(each) if each.assignment.label == "trial:1" else each for each in runs]
    assert confirm.finals(spec, problem(spec), trials, runs) == []


def finals(spec, trials, accuracies):
    return confirm.finals(spec, problem(spec), trials, shortlisted(spec, trials, accuracies))


BOTH = {"trial:0": [0.9, 0.9], "trial:1": [0.8, 0.8], "start:erk": [0.6, 0.6]}


def test_every_arm_runs_with_the_same_fresh_seeds():
    spec = job(confirm=CONFIRM, seed=3)
    found = finals(spec, searched(spec, [(ONE, 0.99), (TWO, 0.80)]), BOTH)
    names = ["snas", "dense", "same_capacity", "uniform", "erk", "random"]
    assert [each.label for each in found[:6]] == names
    assert [each.ordinal for each in found] == list(range(30))
    for name in names:
        seeds = [each.seed for each in found if each.label == name]
        assert seeds == [derive(3, "final", number) for number in range(5)]
    assert not {each.seed for each in found} & {derive(3, "shortlist", number) for number in range(9)}


def test_sparse_arms_have_exactly_the_winners_weights_and_dense_ones_stay_as_they_are():
    spec = job(confirm=CONFIRM)
    found = {each.label: each for each in finals(spec, searched(spec, [(ONE, 0.99), (TWO, 0.80)]), BOTH)}
    assert found["snas"].counts == ONE
    assert found["snas"].trial == 0
    for name in ("uniform", "erk", "random"):
        assert sum(found[name].counts) == 26_620
        assert (found[name].network, found[name].rewiring) == (spec.network, spec.rewiring)
    assert found["uniform"].counts == (23_520, 3_000, 100)
    assert found["erk"].counts == ERK
    assert found["dense"].counts == (235_200, 30_000, 1_000)
    assert found["dense"].rewiring == found["same_capacity"].rewiring == Static()
    # 33 and 11 hidden units; 34 and 11 would be 27,140
    assert found["same_capacity"].network == MLP(widths=(33, 11))
    assert sum(found["same_capacity"].counts) == 26_345


def test_random_densities_are_drawn_afresh_for_each_seed_and_the_same_for_the_same_job():
    spec = job(confirm=CONFIRM)
    trials = searched(spec, [(ONE, 0.99), (TWO, 0.80)])
    drawn = [each.counts for each in finals(spec, trials, BOTH) if each.label == "random"]
    assert len(set(drawn)) == 5
    assert drawn == [each.counts for each in finals(spec, trials, BOTH) if each.label == "random"]


def test_the_best_start_is_an_arm_of_its_own_where_no_other_arm_is_that_network():
    spec = job({"space": {"kind": "budget", "density": 0.02}}, confirm={**CONFIRM, "arms": ["erk"]})
    trials = searched(spec, [((4_000, 1_000, 324), 0.9), ((3_900, 1_100, 324), 0.8)])
    scores = {
        "trial:0": [0.9, 0.9],
        "trial:1": [0.8, 0.8],
        "start:erk": [0.5, 0.5],
        "start:erk_dense_output": [0.6, 0.6],
    }
    found = finals(spec, trials, scores)
    assert [each.label for each in found[:3]] == ["snas", "erk", "start"]
    assert found[2].counts[-1] == 1_000
    scores["start:erk"] = [0.7, 0.7]
    assert {each.label for each in finals(spec, trials, scores)} == {"snas", "erk"}


def test_a_winner_that_is_erk_shares_its_runs_with_the_erk_arm():
    spec = job(confirm={**CONFIRM, "arms": ["erk", "dense"]})
    trials = searched(spec, [(ERK, 0.99), (TWO, 0.80)])
    found = finals(spec, trials, {"start:erk": [0.9, 0.9], "trial:1": [0.8, 0.8]})
    assert {each.label for each in found} == {"snas", "dense"}


def test_the_start_of_a_free_space_runs_at_the_winners_capacity():
    spec = job({"space": {"kind": "free", "low": 0.01, "high": 1.0}}, confirm={**CONFIRM, "arms": []})
    trials = searched(spec, [((9_000, 900, 100), 0.99), ((2_000, 200, 100), 0.80)])
    found = finals(spec, trials, {"trial:0": [0.1, 0.1], "trial:1": [0.9, 0.9], "start:erk": [0.2, 0.2]})
    assert [(each.label, sum(each.counts)) for each in found[:2]] == [("snas", 2_300), ("start", 2_300)]


def test_same_capacity_is_left_out_where_no_dense_network_is_small_enough():
    spec = job({"space": {"kind": "budget", "weights": 500}}, confirm=CONFIRM)
    trials = searched(spec, [((310, 170, 20), 0.9)])
    found = finals(spec, trials, {"trial:0": [0.9, 0.9], "start:erk": [0.5, 0.5]})
    assert {each.label for each in found} == {"snas", "dense", "uniform", "erk", "random"}
