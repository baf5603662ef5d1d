"""First points that a job names, among them those that scores of the network's first weights give."""

import json
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import BUDGET, complete, job, problem, searched

from models.placement import allocate
from models.seeds import derive
from models.topologies import SNIP
from search import confirm, remembered, study
from search.candidates import candidates
from search.faults import InvalidSpec
from search.problem import examine, problem_from, problem_json, split_seed

DIGITS = {"kind": "bundled", "name": "digits"}
MLP = {"kind": "mlp", "widths": [32, 16]}
SPACE = {"kind": "budget", "weights": 680}
ERK_COUNTS, SNIP_COUNTS = (18_714, 6_906, 1_000), (19_000, 7_000, 620)


def naming(*starts, space=None, **changes):
    return job({"space": space or SPACE, "starts": starts}, **{"data": DIGITS, "network": MLP, **changes})


def asked(spec, found, number):
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    return [study.ask(storage, "study", spec, found, ordinal)[1] for ordinal in range(number)]


def test_the_starts_named_come_first_in_their_order_each_with_exactly_the_budget():
    spec = naming("synflow", "erk", "snip", "grasp")
    points = asked(spec, examine(spec, None), 5)
    assert [each.label for each in points] == ["start:synflow", "start:erk", "start:snip", "start:grasp", "sampled"]
    assert {sum(each.counts) for each in points} == {680}
    assert len({each.counts for each in points}) == 5


def test_a_start_has_the_counts_that_its_score_leaves_where_these_leave_a_weight_per_unit():
    spec = naming("snip")
    found = examine(spec, None)
    split = remembered.split(spec.data, None, split_seed(spec), None, spec.data.validation)
    raw = allocate(SNIP(), spec.network, 680, spec.training.loss, split, derive(spec.seed, "starts"))
    assert all(count >= floor for count, floor in zip(raw, (32, 16, 10), strict=True)), "no layer is emptied here"
    assert found.scored == (("snip", raw),)
    assert asked(spec, found, 1)[0].counts == raw


def test_a_topology_of_the_job_scores_with_its_own_settings():
    by_default = examine(naming("snip"), None).scored
    assert examine(naming("snip", topology={"kind": "snip", "samples": 20}), None).scored != by_default
    assert examine(naming("snip", topology={"kind": "synflow"}), None).scored == by_default


def test_layers_kept_dense_are_counted_and_left_full():
    spec = naming("synflow", network=MLP | {"keep_dense": ["output"]})
    (point,) = asked(spec, examine(spec, None), 1)
    assert point.counts[-1] == 160
    assert sum(point.counts) == 680


def test_scores_are_kept_with_the_problem():
    found = examine(naming("snip", "grasp"), None)
    assert problem_from(json.loads(json.dumps(problem_json(found)))) == found
    older = problem_json(found)
    del older["scored"]
    assert problem_from(older) == replace(found, scored=())


def test_a_job_that_names_no_start_has_none_and_one_that_says_nothing_has_all_set_by_hand():
    silent = job({"space": SPACE}, data=DIGITS, network=MLP)
    assert asked(naming(), examine(naming(), None), 1)[0].label == "sampled"
    labels = [each.label for each in asked(silent, examine(silent, None), 3)]
    assert labels == ["start:erk", "start:erk_dense_output", "start:uniform"]


def test_a_scored_start_is_a_candidate_a_rival_and_an_arm():
    spec = job({"space": BUDGET, "starts": ["erk", "snip"]}, confirm={"shortlist": 1, "shortlist_seeds": 2, "seeds": 2})
    where = replace(problem(spec), scored=(("snip", SNIP_COUNTS),))
    trials = searched(
        spec,
        [(ERK_COUNTS, 0.5), (SNIP_COUNTS, 0.6), ((20_000, 6_000, 620), 0.9)],
        ["start:erk", "start:snip", "sampled"],
    )
    found = candidates(spec, where, trials)
    assert [(each.label, each.trial, each.counts) for each in found[1:]] == [
        ("start:erk", 0, ERK_COUNTS),
        ("start:snip", 1, SNIP_COUNTS),
    ]
    scores = {"trial:2": 0.9, "start:erk": 0.6, "start:snip": 0.7}
    short = [complete(spec, each, scores[each.label]) for each in confirm.shortlist(spec, where, trials)]
    assert confirm.best_start(confirm.standings(spec, where, trials, short)).candidate.label == "start:snip"
    arms = {each.label: each for each in confirm.finals(spec, where, trials, short)}
    assert arms["start"].counts == SNIP_COUNTS


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"starts": ["erk", "erk"]}, "names one twice"),
        ({"starts": ["best"]}, "'snip'"),
        ({"starts": ["snip"], "space": {"kind": "free"}}, "snip is not allowed without a budget"),
        ({"starts": ["erk"], "space": {"kind": "dictated"}}, "not allowed with dictated densities"),
    ],
)
def test_starts_that_cannot_be_are_refused(search, words):
    with pytest.raises(InvalidSpec, match=words):
        job({"trials": 12} | search)


def test_too_few_samples_to_score_are_refused_with_the_numbers():
    spec = naming("snip", data=DIGITS | {"limit": 100})
    with pytest.raises(InvalidSpec) as caught:
        examine(spec, None)
    (fault,) = caught.value.faults
    assert (fault["field"], fault["value"]) == ("search.starts", "snip")
    assert "100 is not allowed" in fault["message"]
