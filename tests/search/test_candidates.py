import pytest
from search_stubs import LENET, complete, failed, job, problem, searched

from models.seeds import derive
from search import confirm
from search.candidates import candidates

ERK = (18_714, 6_906, 1_000)
UNIFORM = (23_520, 3_000, 100)
ONE, TWO, THREE = (20_000, 6_000, 620), (15_000, 11_000, 620), (22_000, 4_000, 620)
FREE = {"space": {"kind": "free", "low": 0.01, "high": 1.0}}


def confirming(choose=None, **changes):
    return {"shortlist": 2, "shortlist_seeds": 3, "seeds": 5, "choose": choose or {"kind": "best"}} | changes


def labels(spec, trials):
    return [each.label for each in candidates(spec, problem(spec), trials)]


def test_the_best_by_loss_are_shortlisted_and_the_starts_beside_them():
    spec = job(confirm=confirming())
    trials = searched(spec, [(ERK, 0.5), (UNIFORM, 0.4), (ONE, 0.9), (TWO, 0.8), (THREE, 0.7)])
    assert labels(spec, trials) == ["trial:2", "trial:3", "start:erk"]


def test_the_first_measure_among_the_objectives_ranks():
    spec = job({"objectives": ["accuracy"]}, confirm=confirming())
    one, two, three = searched(spec, [(ONE, 0.9), (TWO, 0.8), (THREE, 0.7)])
    # The best loss belongs to the worst accuracy.
    trials = [one, two, complete(spec, three.assignment, 0.7, loss=0.0)]
    assert labels(spec, trials)[:2] == ["trial:0", "trial:1"]
    assert labels(job(confirm=confirming()), trials)[0] == "trial:2"


def test_a_start_among_the_best_is_one_candidate():
    spec = job(confirm=confirming())
    trials = searched(spec, [(ERK, 0.9), (UNIFORM, 0.4), (ONE, 0.8)])
    assert labels(spec, trials) == ["start:erk", "trial:2"]
    assert candidates(spec, problem(spec), trials)[0].trial == 0


def test_a_reference_is_shortlisted_only_on_its_merits():
    spec = job(confirm=confirming())
    names = ["start:erk", "start:uniform"]
    assert "start:uniform" not in labels(
        spec, searched(spec, [(ERK, 0.5), (UNIFORM, 0.4), (ONE, 0.9), (TWO, 0.8)], names)
    )
    assert "start:uniform" in labels(spec, searched(spec, [(ERK, 0.5), (UNIFORM, 0.95), (ONE, 0.9)], names))


def test_a_pareto_job_shortlists_its_front_first():
    spec = job({**FREE, "objectives": ["loss", "weights"]}, confirm=confirming(shortlist=3))
    # Trial 1 is dominated by trial 0; trial 2 has a worse loss but is on the front.
    trials = searched(spec, [((2_000, 200, 100), 0.9), ((3_000, 300, 100), 0.89), ((500, 100, 50), 0.5)])
    assert labels(spec, trials)[:3] == ["trial:0", "trial:2", "trial:1"]


def test_starts_of_a_free_space_stand_at_the_capacity_of_the_best():
    spec = job(FREE, confirm=confirming())
    trials = searched(spec, [((2_000, 200, 100), 0.9), ((3_000, 300, 100), 0.8)])
    found = {each.label: each.weights for each in candidates(spec, problem(spec), trials)}
    assert found == {"trial:0": 2_300, "trial:1": 3_400, "start:erk": 2_300}


def test_the_smallest_within_some_points_of_the_best_come_with_the_best():
    spec = job(FREE, confirm=confirming({"kind": "smallest_within", "points": 2}))
    trials = searched(
        spec, [((90_000, 200, 100), 0.90), ((3_000, 300, 100), 0.89), ((2_000, 300, 100), 0.885), ((900, 90, 90), 0.87)]
    )
    assert labels(spec, trials)[:2] == ["trial:2", "trial:0"]


def test_a_chosen_trial_is_confirmed_whatever_became_of_it():
    spec = job(confirm=confirming({"kind": "trial", "trial": 1}))
    trials = searched(spec, [(ONE, 0.9), (TWO, 0.8)])
    assert labels(spec, [trials[0], failed(trials[1])]) == ["trial:1", "start:erk"]


def test_failed_and_pruned_trials_are_not_candidates():
    spec = job(confirm=confirming())
    trials = searched(spec, [(ONE, 0.9), (TWO, 0.8)])
    assert labels(spec, [failed(trials[0]), trials[1]]) == ["trial:1", "start:erk"]
    assert labels(spec, [failed(each) for each in trials]) == []


def test_the_order_in_which_trials_finished_does_not_matter():
    spec = job(confirm=confirming())
    trials = searched(spec, [(ERK, 0.5), (ONE, 0.9), (TWO, 0.9), (THREE, 0.9)])
    assert labels(spec, trials) == labels(spec, trials[::-1])


def test_every_candidate_runs_with_the_same_fresh_seeds():
    spec = job(confirm=confirming(), seed=7)
    trials = searched(spec, [(ONE, 0.9), (TWO, 0.8)])
    asked = confirm.shortlist(spec, problem(spec), trials)
    assert [each.ordinal for each in asked] == list(range(9))
    seeds = {
        label: [each.seed for each in asked if each.label == label] for label in ("trial:0", "trial:1", "start:erk")
    }
    assert set(map(tuple, seeds.values())) == {tuple(derive(7, "shortlist", number) for number in range(3))}
    assert not {each.seed for each in asked} & {derive(7, "trial", number) for number in range(20)}


def test_a_job_without_confirmation_has_no_shortlist():
    spec = job(confirm=None)
    assert confirm.shortlist(spec, problem(spec), searched(spec, [(ONE, 0.9)])) == []


@pytest.mark.parametrize("points", [0.5, 3.0])
def test_the_winner_of_smallest_within_is_the_smallest_that_holds_on_fresh_seeds(points):
    spec = job(FREE, confirm=confirming({"kind": "smallest_within", "points": points}))
    trials = searched(spec, [((90_000, 200, 100), 0.90), ((3_000, 300, 100), 0.899)])
    scores = {"trial:1": 0.88, "trial:0": 0.90, "start:erk": 0.1}
    asked = confirm.shortlist(spec, problem(spec), trials)
    ranked = confirm.standings(spec, problem(spec), trials, [complete(spec, a, scores[a.label]) for a in asked])
    assert confirm.winner(spec, ranked).candidate.label == ("trial:1" if points == 3.0 else "trial:0")


def test_starts_have_the_counts_of_their_rule():
    spec = job(confirm=confirming())
    (start,) = [each for each in candidates(spec, problem(spec), searched(spec, [(ONE, 0.9)])) if each.rule]
    assert start.counts == ERK
    assert sum(layer.total for layer in LENET) == 266_200
