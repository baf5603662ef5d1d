"""The first point that one gradual-pruning run gives: what is trained for it, and what a search makes of it."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from search_stubs import BUDGET, LENET, complete, job, problem, searched

from models.rewiring import Gradual
from search import confirm, gradual_start, remembered, study, trials
from search.candidates import candidates
from search.faults import InvalidSpec
from search.gradual_start import Pruned
from search.points import Outcome
from search.problem import examine, problem_from, problem_json, split_seed
from search.report import build
from search.steps import awaits_pruning
from search.verdict import against_starts

DIGITS = {"kind": "bundled", "name": "digits", "limit": 400}
MLP = {"kind": "mlp", "widths": [32, 16]}
SPACE = {"kind": "budget", "weights": 680}
PRUNED_COUNTS = (19_000, 7_000, 620)
PRUNED = Pruned(PRUNED_COUNTS, (266_200, 50_000, 26_620), 1.5)


def naming(*starts, space=None, search=None, **changes):
    value = {"data": DIGITS, "network": MLP, "training": {"epochs": 3, "batch_size": 32}} | changes
    return job({"space": space or SPACE, "starts": starts, **(search or {})}, **value)


def pruned(spec, found):
    """As a worker finds it out."""
    job, point = gradual_start.run(spec, found.layers, found.samples)
    *reports, outcome = trials.perform(job, point, None)
    assert isinstance(outcome, Outcome)
    return gradual_start.pruned(spec, found.layers, outcome.nnz, [asdict(each) for each in reports])


def asked(spec, found, ordinals):
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    return [study.ask(storage, "study", spec, found, ordinal)[1] for ordinal in ordinals]


def test_the_run_prunes_all_layers_together_from_dense_to_exactly_the_budget():
    spec = naming("gradual")
    found = examine(spec, None)
    _, point = gradual_start.run(spec, found.layers, found.samples)
    assert (point.rewiring.kind, point.rewiring.scope) == ("gradual", "global")
    came_to = pruned(spec, found)
    assert sum(came_to.counts) == 680
    assert came_to.counts != point.counts, "what is asked of each layer decides nothing"
    assert came_to.weights[-1] == 680
    assert came_to.weights[0] > 680
    assert len(came_to.weights) == spec.training.epochs
    assert came_to.cost["epochs"] == 3
    assert came_to.cost["seconds"] > 0


def test_the_run_is_that_of_the_jobs_seed():
    spec = naming("gradual")
    found = examine(spec, None)
    assert pruned(spec, found).counts == pruned(spec, found).counts
    other = replace(spec, seed=1)
    assert pruned(other, examine(other, None)).counts != pruned(spec, found).counts


def test_held_out_samples_have_no_part_in_the_counts(monkeypatch):
    spec = naming("gradual")
    found = examine(spec, None)
    split = remembered.split(spec.data, None, split_seed(spec), None, spec.data.validation)
    expected = pruned(spec, found).counts
    shuffled = replace(split, held_out=replace(split.held_out, y=split.held_out.y.flip(0), x=split.held_out.x * 7))
    monkeypatch.setattr(trials, "split", lambda *_: shuffled)
    assert pruned(spec, found).counts == expected


def test_the_start_has_the_counts_of_the_run_and_is_trained_as_the_job_says():
    spec = naming("erk", "gradual")
    found = examine(spec, None)
    came_to = pruned(spec, found)
    first, second, third = asked(spec, replace(found, gradual=came_to), range(3))
    assert [each.label for each in (first, second, third)] == ["start:erk", "start:gradual", "sampled"]
    assert second.counts == came_to.counts
    assert second.rewiring == spec.rewiring


def test_others_are_asked_for_before_the_run_is_known_and_it_is_not():
    spec = naming("erk", "gradual", "uniform")
    found = examine(spec, None)
    assert [awaits_pruning(spec, found, ordinal) for ordinal in range(4)] == [False, True, False, False]
    before = asked(spec, found, [0, 2, 3])
    assert [each.label for each in before] == ["start:erk", "start:uniform", "sampled"]
    with pytest.raises(LookupError, match="yet to be trained"):
        asked(spec, found, [1])
    known = replace(found, gradual=pruned(spec, found))
    assert not any(awaits_pruning(spec, known, ordinal) for ordinal in range(4))
    after = asked(spec, known, [0, 2, 3])
    assert [(each.label, each.counts) for each in after] == [(each.label, each.counts) for each in before]


@given(place=st.integers(0, 2), shares=st.lists(st.floats(0.001, 1), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_whatever_the_run_comes_to_every_ordinal_keeps_its_trial(place, shares):
    names = ["erk", "uniform"]
    names.insert(place, "gradual")
    spec = job({"space": BUDGET, "starts": names, "sampler": {"kind": "qmc"}, "trials": 6})
    left = [max(1, round(share * layer.total)) for share, layer in zip(shares, LENET, strict=True)]
    came_to = gradual_start.pruned(spec, LENET, left, [])
    where = replace(problem(spec), gradual=came_to)
    points = asked(spec, where, range(6))
    others = [ordinal for ordinal in range(6) if ordinal != place]
    expected = asked(spec, problem(spec), others)
    assert [points[ordinal].counts for ordinal in others] == [each.counts for each in expected]
    own = points[place]
    assert sum(own.counts) == 26_620
    assert own.label == "sampled" or (own.label == "start:gradual" and own.counts == came_to.counts)
    assert own.label == "start:gradual" or own.counts not in [each.counts for each in expected]


def test_what_the_space_does_not_contain_leaves_its_slot_to_the_sampler():
    spec = job({"space": BUDGET | {"window": 0.1}, "starts": ["gradual"]})
    came_to = Pruned((20, 26_580, 20), (26_620,), 1.0)
    where = replace(problem(spec), gradual=came_to)
    (point,) = asked(spec, where, [0])
    assert point.label == "sampled"
    trials = searched(spec, [(point.counts, 0.5)])
    assert "start:gradual" not in [each.label for each in candidates(spec, where, trials)]


def test_a_job_that_prunes_gradually_prunes_with_its_own_settings():
    own = {"kind": "gradual", "begin": 0.25, "end": 0.5, "every": 7}
    spec = naming("gradual", rewiring=own)
    job, _ = gradual_start.run(spec, examine(spec, None).layers, 400)
    assert job.rewiring == Gradual(begin=0.25, end=0.5, every=7, scope="global")
    by_default = gradual_start.pruning_job(naming("gradual"), 400).rewiring
    assert (by_default.begin, by_default.end) == (0.1, 0.75)


def test_the_run_is_trained_once_and_measured_no_more_than_its_counts_need():
    spec = naming(
        "gradual",
        rewiring={"kind": "one_shot"},
        retraining={"weights": "fresh"},
        measures=[{"kind": "gap"}],
        search={"objectives": ["loss", "latency"]},
    )
    came_to = pruned(spec, examine(spec, None))
    assert len(came_to.weights) == spec.training.epochs


def test_where_settings_vary_the_run_has_those_of_a_start():
    spec = naming("gradual", search={"choices": {"network.activation": ["silu", "relu"]}})
    found = examine(spec, None)
    job, point = gradual_start.run(spec, found.layers, found.samples)
    assert point.network.activation == "relu"
    assert not job.search.choices


def test_layers_kept_dense_stay_so():
    spec = naming("gradual", network=MLP | {"keep_dense": ["output"]})
    found = examine(spec, None)
    came_to = pruned(spec, found)
    assert sum(came_to.counts) == 520
    (point,) = asked(spec, replace(found, gradual=came_to), [0])
    assert point.counts == (*came_to.counts, 160)


def test_it_is_kept_with_the_problem():
    found = replace(problem(job()), gradual=PRUNED)
    assert problem_from(json.loads(json.dumps(problem_json(found)))) == found
    older = problem_json(found)
    del older["gradual"]
    assert problem_from(older) == replace(found, gradual=None)


def test_it_is_a_candidate_a_rival_and_an_arm_and_its_cost_is_told():
    spec = job(
        {"space": BUDGET, "starts": ["erk", "gradual"]}, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2}
    )
    where = replace(problem(spec), gradual=PRUNED)
    erk = (18_714, 6_906, 1_000)
    trials = searched(
        spec,
        [(erk, 0.5), (PRUNED_COUNTS, 0.6), ((20_000, 6_000, 620), 0.9)],
        ["start:erk", "start:gradual", "sampled"],
    )
    labels = [(each.label, each.trial) for each in candidates(spec, where, trials)]
    assert labels == [("trial:2", 2), ("start:erk", 0), ("start:gradual", 1)]
    scores = {"trial:2": 0.9, "start:erk": 0.6, "start:gradual": 0.7}
    short = [complete(spec, each, scores[each.label]) for each in confirm.shortlist(spec, where, trials)]
    assert confirm.best_start(confirm.standings(spec, where, trials, short)).candidate.label == "start:gradual"
    arms = confirm.finals(spec, where, trials, short)
    assert {each.label: each for each in arms}["start"].counts == PRUNED_COUNTS
    final = [complete(spec, each, 0.8) for each in arms]
    shown = build({}, spec, where, trials, short, final)
    costs = [each["pruning_run"] for each in shown["trials"]]
    assert costs == [None, {"epochs": 3, "seconds": 1.5, "weights": [266_200, 50_000, 26_620]}, None]
    assert "recommended is that start, which costs no search, but a pruning run: gradual" in shown["verdict"]


def test_a_run_that_failed_leaves_no_candidate():
    spec = job({"space": BUDGET, "starts": ["erk", "gradual"]})
    trials = searched(spec, [((18_714, 6_906, 1_000), 0.5)], ["start:erk"])
    assert [each.label for each in candidates(spec, problem(spec), trials)] == ["start:erk"]
    assert against_starts(None).startswith("The search was not compared")


@pytest.mark.parametrize("space", [{"kind": "free"}, {"kind": "dictated"}])
def test_without_a_budget_it_is_refused(space):
    with pytest.raises(InvalidSpec, match="not allowed with"):
        job({"starts": ["gradual"], "space": space})


def test_a_budget_that_leaves_nothing_to_prune_is_refused_with_the_numbers():
    spec = naming("gradual", space={"kind": "budget", "weights": 2_720})
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, None)
    (fault,) = caught.value.faults
    assert (fault["field"], fault["value"]) == ("search.starts", "gradual")
    assert "it must be at most 2717" in fault["message"]
    examine(naming("gradual", space={"kind": "budget", "weights": 2_717}), None)
