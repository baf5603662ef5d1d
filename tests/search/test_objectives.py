from hypothesis import given
from hypothesis import strategies as st
from search_stubs import job, searched

from search import objectives
from search.candidates import front

FREE = {"kind": "free"}


def test_values_and_directions_follow_the_order_of_the_job():
    spec = job({"space": FREE, "objectives": ["accuracy", "weights"]})
    (trial,) = searched(spec, [((10, 20, 30), 0.9)])
    assert objectives.values(spec, trial.measured) == [0.9, 60.0]
    assert objectives.directions(spec) == ["maximize", "minimize"]


def test_trials_are_ranked_by_the_first_objective_that_measures_quality():
    assert objectives.ranked_by(job({"space": FREE, "objectives": ["weights", "accuracy", "loss"]})) == "accuracy"
    assert objectives.ranked_by(job({"space": FREE, "objectives": ["macs"]})) == "loss"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_dominates_all_others_and_none_of_its_own(points):
    def dominates(one, other):
        return one[0] <= other[0] and one[1] <= other[1] and one != other

    inside = set(objectives.non_dominated(points))
    assert inside
    for index, point in enumerate(points):
        dominated = any(dominates(points[other], point) for other in inside)
        assert dominated is (index not in inside)


def test_the_front_of_a_job_with_one_objective_is_accuracy_against_weights():
    spec = job({"space": FREE, "objectives": ["loss"]})
    trials = searched(spec, [((10, 10, 10), 0.8), ((20, 10, 10), 0.7), ((20, 20, 20), 0.9)])
    assert [each.number for each in front(spec, trials)] == [0, 2]
