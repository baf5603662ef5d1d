from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_stubs import CNN, job, searched
from torch import nn

from search import capacity, objectives
from search.candidates import front
from search.latency import REPEATS, WARM_UP, latency

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


def test_costs_and_flow_are_told_as_they_were_measured():
    spec = job({"objectives": ["latency", "flops", "egf"]})
    (trial,) = searched(spec, [((10, 20, 30), 0.9)])
    measured = replace(trial.measured, latency=0.25, flops=130, egf_1=3.0)
    assert objectives.values(spec, measured) == [0.25, 130.0, 3.0]
    assert objectives.directions(spec) == ["minimize", "minimize", "maximize"]
    assert objectives.cost("egf", measured) == -3.0
    assert objectives.ranked_by(spec) == "loss", "what foretells or costs orders no trials"


def test_an_objective_that_was_not_measured_is_an_error_that_names_it():
    spec = job({"objectives": ["latency"]})
    (trial,) = searched(spec, [((10, 20, 30), 0.9)])
    with pytest.raises(ValueError, match="latency is an objective"):
        objectives.values(spec, trial.measured)


def test_flops_count_two_for_each_multiply_add_and_one_for_each_output():
    # conv1 10 connections at 196 positions, 16 channels; output 5 connections, 10 classes.
    shapes = (CNN[0], CNN[-1])
    assert capacity.macs(shapes, (10, 5)) == 1965
    assert capacity.flops(shapes, (10, 5)) == 2 * 1965 + 16 * 196 + 10


def test_latency_is_the_median_of_passes_without_gradients_after_a_warm_up():
    passes = []

    class Counting(nn.Module):
        def forward(self, x):
            passes.append((tuple(x.shape), torch.is_grad_enabled(), self.training))
            return x

    assert 0 < latency(Counting().train(), torch.ones(7, 3)) < 1
    assert passes == [((7, 3), False, False)] * (WARM_UP + REPEATS)
