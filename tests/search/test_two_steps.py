"""A search in two steps: the network's shape by two numbers, then each layer around the best of these points."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from search_stubs import BUDGET, CNN, LENET, job, outcome, problem

from search import hand_set, study
from search.faults import InvalidSpec
from search.problem import Problem
from search.shape import distributions, ratios
from search.space import counts, floors
from search.spec import parse

TWO = BUDGET | {"steps": "two"}


def two_steps(space=None, **search):
    return job({"space": TWO | (space or {}), "trials": 12, **search})


def ask(spec, storage, ordinal, at=None):
    return study.ask(storage, "study", spec, at or problem(spec), ordinal)


def search(spec, loss, trials=None, at=None):
    """The storage of a search whose trials lose `loss(counts)`."""
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    for ordinal in range(spec.search.trials if trials is None else trials):
        number, assignment = ask(spec, storage, ordinal, at)
        measured = outcome(job(), assignment, 0.5, loss(assignment.counts)) if at is None else None
        study.tell(storage, "study", spec, number, "complete" if measured else "failed", measured)
    return storage


def far_from(wanted):
    return lambda found: sum(math.log(a / b) ** 2 for a, b in zip(found, wanted, strict=True))


def params(storage):
    return [record.params for record in study.trials(storage, "study")]


@pytest.mark.parametrize(
    ("layers", "total", "point", "rule"),
    [
        (LENET, 26_620, (1.0, 0.0), "erk"),
        (LENET, 26_620, (0.0, 0.0), "uniform"),
        (CNN, 7_776, (1.0, 0.0), "erk"),
        (CNN, 7_776, (0.0, 0.0), "uniform"),
        (CNN, 7_776, (1.0, 0.5), "erk_positions"),
    ],
)
def test_the_known_rules_are_shapes(layers, total, point, rule):
    spec = job({"space": TWO | {"weights": total}})
    power, tilt = point
    found = counts(spec, layers, {"power": power, "tilt": tilt})
    assert found == hand_set.counts(rule, layers, total, floors(spec.search.space, layers))


def test_the_tilt_of_a_perceptron_is_its_depth_and_that_of_convolutions_their_positions():
    flat, tilted = ratios(LENET, 26_620, {"power": 1, "tilt": 0}), ratios(LENET, 26_620, {"power": 1, "tilt": 0.7})
    assert flat == [0, 0, 0]
    assert tilted == pytest.approx([-0.7, 0, 0.7])
    found = ratios(CNN, 7_776, {"power": 1, "tilt": 0.5})
    assert found == pytest.approx([0.5 * math.log(p) for p in (196, 49, 16, 1, 1)])
    assert (distributions(LENET)["tilt"].low, distributions(LENET)["tilt"].high) == (-1.5, 1.5)
    assert (distributions(CNN)["tilt"].low, distributions(CNN)["tilt"].high) == (-0.5, 1.5)
    assert (distributions(CNN)["power"].low, distributions(CNN)["power"].high) == (-0.5, 2.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([LENET, CNN]),
    st.floats(0.01, 1.0),
    st.tuples(st.floats(-0.5, 2.0), st.floats(-1.5, 1.5)),
    st.lists(st.floats(-1, 1), min_size=5, max_size=5),
)
def test_every_point_of_both_steps_has_exactly_the_budget(layers, density, point, residuals):
    total = max(round(density * sum(layer.total for layer in layers)), sum(layer.outputs for layer in layers))
    spec = job({"space": TWO | {"weights": total}})
    shape = dict(zip(("power", "tilt"), point, strict=True))
    assert sum(counts(spec, layers, shape)) == total
    moved = {f"residual_{layer.name}": value for layer, value in zip(layers, residuals, strict=False)}
    found = counts(spec, layers, moved, ratios(layers, total, shape))
    assert sum(found) == total
    assert all(layer.outputs <= count <= layer.total for layer, count in zip(layers, found, strict=True))


def test_first_the_starts_then_two_numbers_then_residuals():
    found = params(search(two_steps(), far_from((20_000, 6_000, 620))))
    assert found[:2] == [{"power": 1, "tilt": 0}, {"power": 0, "tilt": 0}]
    assert [sorted(each) for each in found[2:6]] == [["power", "tilt"]] * 4
    assert [sorted(each) for each in found[6:]] == [["residual_fc1", "residual_fc2", "residual_output"]] * 6
    assert all(-1 <= value <= 1 for each in found[6:] for value in each.values())


def test_a_start_that_is_no_shape_is_a_point_of_its_own():
    spec = two_steps({"weights": 5_324})
    storage = search(spec, far_from((4_000, 1_000, 324)))
    labels = [ask(spec, storage, ordinal)[1].label for ordinal in range(4)]
    assert labels[:3] == ["start:erk", "start:erk_dense_output", "start:uniform"]
    assert sorted(params(storage)[1]) == ["ratio_fc1", "ratio_fc2", "ratio_output"]


def test_residuals_are_around_the_best_point_of_the_first_step():
    spec = two_steps()
    wanted = (23_520, 3_000, 100)  # uniform, the second start, is exactly the best
    storage = search(spec, far_from(wanted))
    uniform = ratios(LENET, 26_620, {"power": 0, "tilt": 0})
    trials = storage.get_all_trials(0)
    assert [trial.user_attrs.get("centre") for trial in trials] == [None] * 6 + [pytest.approx(uniform)] * 6
    for ordinal in range(6, 12):
        _, assignment = ask(spec, storage, ordinal)
        residuals = params(storage)[ordinal]
        assert assignment.counts == counts(spec, LENET, residuals, uniform)
        assert sum(assignment.counts) == 26_620


def test_what_maximises_is_best_where_accuracy_is_the_objective():
    spec = two_steps(objectives=["accuracy"])
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    for ordinal in range(7):
        number, assignment = ask(spec, storage, ordinal)
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.9 if ordinal == 1 else 0.5))
    assert storage.get_all_trials(0)[6].user_attrs["centre"] == pytest.approx(
        ratios(LENET, 26_620, {"power": 0, "tilt": 0})
    )


def test_without_a_complete_trial_the_second_step_is_around_erk():
    spec = two_steps()
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    for ordinal in range(7):
        ask(spec, storage, ordinal)
    assert storage.get_all_trials(0)[6].user_attrs["centre"] == [0, 0, 0]


def test_all_of_the_second_step_has_one_centre_also_when_the_first_ends_late():
    spec = two_steps()
    storage = search(spec, far_from((23_520, 3_000, 100)), trials=1)  # ERK alone is complete
    late = [ask(spec, storage, ordinal) for ordinal in range(1, 6)]
    early = ask(spec, storage, 6)
    for number, assignment in late:
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.99))
    assert ask(spec, storage, 6) == early
    _, after = ask(spec, storage, 7)
    assert after.counts == counts(spec, LENET, params(storage)[7], [0, 0, 0])


@pytest.mark.parametrize("kind", ["tpe", "random", "gp", "cma_es", "qmc"])
def test_every_sampler_repeats_itself_and_its_worker_may_die(kind, monkeypatch):
    spec = two_steps(sampler={"kind": kind})
    loss = far_from((15_000, 11_000, 620))
    whole, broken = search(spec, loss, 11), search(spec, loss, 11)
    assert params(whole) == params(broken)
    assert len({tuple(each.values()) for each in params(whole)}) == 11
    expected = ask(spec, whole, 11)
    write, written = InMemoryStorage.set_trial_param, Counter()

    def dying(self, *arguments):
        if written["parameters"] == 2:
            raise KeyboardInterrupt
        written["parameters"] += 1
        write(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(InMemoryStorage, "set_trial_param", dying)
        with pytest.raises(KeyboardInterrupt):
            ask(spec, broken, 11)
    assert ask(spec, broken, 11) == expected


def test_a_sampler_of_the_second_step_learns_from_that_step_alone():
    storage = search(two_steps(sampler={"kind": "cma_es"}), far_from((15_000, 11_000, 620)))
    modelled = [any(key.startswith("cma:") for key in trial.system_attrs) for trial in storage.get_all_trials(0)]
    # The starts give CMA-ES something to begin with; the first residuals are drawn by chance.
    assert modelled == [False, False, True, True, True, True, False, True, True, True, True, True]


def test_layers_kept_dense_stay_so_in_both_steps():
    spec = parse(
        {
            "name": "a job",
            "data": {"kind": "bundled"},
            "network": {"kind": "lenet_300_100", "keep_dense": ["output"]},
            "search": {"space": TWO, "trials": 8},
        }
    )
    where = Problem((784,), 10, 1000, "a hash", LENET)
    storage = search(spec, lambda _: 0.0, at=where)
    for ordinal in range(8):
        _, assignment = ask(spec, storage, ordinal, where)
        assert assignment.counts[-1] == 1_000
        assert sum(assignment.counts) == 26_620


@pytest.mark.parametrize(("trials", "shape"), [(12, 6), (28, 14), (100, 14)])
def test_the_first_step_takes_half_of_the_trials_and_at_most_14(trials, shape):
    assert two_steps(trials=trials).search.space.first_step(trials) == shape
    assert two_steps({"shape_trials": 3}).search.space.first_step(trials) == 3


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"space": BUDGET | {"shape_trials": 3}}, "not allowed with one step"),
        ({"space": TWO | {"shape_trials": 12}}, "must be less than trials"),
        ({"space": TWO, "sampler": {"kind": "nsga2"}}, "too short for generations"),
    ],
)
def test_steps_that_cannot_be_are_refused(search, words):
    with pytest.raises(InvalidSpec, match=words):
        job({"trials": 12} | search)
