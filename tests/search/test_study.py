import math
import multiprocessing
import statistics
from collections import Counter

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from search_stubs import ask_all, database, job, outcome, problem

from search import study
from search.starts import starts


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield InMemoryStorage()
    else:
        opened = database(tmp_path / "optuna.db")
        yield opened
        opened.engine.dispose()


def search(storage, spec, loss, trials, name="study"):
    """The losses of a search on a made-up landscape: a function of the parameters."""
    study.create(storage, name, spec)
    losses = []
    for ordinal in range(trials):
        number, assignment = study.ask(storage, name, spec, problem(spec), ordinal)
        losses.append(loss(study.trials(storage, name)[ordinal].params))
        study.tell(storage, name, spec, number, "complete", outcome(spec, assignment, 0.5, losses[-1]))
    return losses


def bowl(params):
    """Best far from ERK: e-folds of -1.5, 1.2 and -0.8."""
    return sum((value - best) ** 2 for value, best in zip(params.values(), (-1.5, 1.2, -0.8), strict=True))


def test_creating_a_study_twice_gives_one_with_its_metrics_named(storage):
    spec = job({"space": {"kind": "free"}, "objectives": ["accuracy", "macs"]})
    assert study.create(storage, "study", spec) == study.create(storage, "study", spec)
    found = optuna.load_study(study_name="study", storage=storage)
    assert found.metric_names == ["accuracy", "macs"]
    assert [direction.name for direction in found.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_the_first_ordinals_are_the_starts_and_the_others_are_sampled(storage):
    spec = job()
    study.create(storage, "study", spec)
    asked = [study.ask(storage, "study", spec, problem(spec), ordinal)[1] for ordinal in range(4)]
    assert [assignment.label for assignment in asked] == ["start:erk", "start:uniform", "sampled", "sampled"]
    assert asked[0].counts == (18_714, 6_906, 1_000)
    assert asked[1].counts == (23_520, 3_000, 100)
    assert all(sum(assignment.counts) == 26_620 for assignment in asked)
    assert len({assignment.seed for assignment in asked}) == 4


def test_asking_again_gives_the_same_trial(storage):
    spec = job()
    study.create(storage, "study", spec)
    for ordinal in (0, 7, 3):
        first = study.ask(storage, "study", spec, problem(spec), ordinal)
        assert study.ask(storage, "study", spec, problem(spec), ordinal) == first
    assert len(storage.get_all_trials(1 if not isinstance(storage, InMemoryStorage) else 0)) == 3


@pytest.mark.parametrize("stored", [0, 1, 2, 3], ids=lambda count: f"{count} parameters stored")
@pytest.mark.parametrize("objectives", [["loss"], ["loss", "macs"]], ids=["one objective", "two"])
def test_a_worker_that_died_while_asking_changes_nothing(stored, objectives, monkeypatch):
    storage = InMemoryStorage()
    spec = job({"objectives": objectives, "trials": 6})
    for name in ("whole", "broken"):
        search(storage, spec, bowl, 4, name)
    expected = study.ask(storage, "whole", spec, problem(spec), 4)

    written = Counter()
    write = type(optuna.load_study(study_name="broken", storage=storage)._storage).set_trial_param

    def dying(self, *arguments):
        if written["parameters"] == stored:
            raise KeyboardInterrupt
        written["parameters"] += 1
        write(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(
            type(optuna.load_study(study_name="broken", storage=storage)._storage), "set_trial_param", dying
        )
        if stored < 3:
            with pytest.raises(KeyboardInterrupt):
                study.ask(storage, "broken", spec, problem(spec), 4)
        else:
            study.ask(storage, "broken", spec, problem(spec), 4)
    assert study.ask(storage, "broken", spec, problem(spec), 4) == expected
    assert len(study.trials(storage, "broken")) == 5


def test_telling_twice_keeps_the_first(storage):
    spec = job()
    study.create(storage, "study", spec)
    number, assignment = study.ask(storage, "study", spec, problem(spec), 0)
    study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.9))
    study.tell(storage, "study", spec, number, "failed", None)
    (record,) = study.trials(storage, "study")
    assert (record.state, record.ordinal) == ("complete", 0)
    assert record.values == pytest.approx([0.1])


@pytest.mark.parametrize("moment", ["set_trial_user_attr", "set_trial_state_values"])
def test_two_may_tell_the_same_at_once(storage, moment, monkeypatch):
    spec = job()
    study.create(storage, "study", spec)
    number, assignment = study.ask(storage, "study", spec, problem(spec), 0)
    told = outcome(spec, assignment, 0.9)
    write = getattr(storage, moment)

    def overtaken(*given, **named):
        monkeypatch.undo()
        study.tell(storage, "study", spec, number, "complete", told)
        return write(*given, **named)

    monkeypatch.setattr(storage, moment, overtaken)
    study.tell(storage, "study", spec, number, "complete", told)
    assert [record.state for record in study.trials(storage, "study")] == ["complete"]


@pytest.mark.parametrize("objectives", [["loss"], ["loss", "macs"]], ids=["one objective", "two"])
def test_pruned_and_failed_trials_have_no_values_and_the_search_goes_on(objectives):
    storage = InMemoryStorage()
    spec = job({"objectives": objectives, "trials": 9})
    study.create(storage, "study", spec)
    for ordinal in range(9):
        number, assignment = study.ask(storage, "study", spec, problem(spec), ordinal)
        state = ("complete", "pruned", "failed")[ordinal % 3]
        measured = outcome(spec, assignment, 0.5 + ordinal / 100) if state == "complete" else None
        study.tell(storage, "study", spec, number, state, measured)
    records = study.trials(storage, "study")
    assert [record.state for record in records] == ["complete", "pruned", "failed"] * 3
    assert all((record.values is None) is (record.state != "complete") for record in records)


def test_what_a_trial_measured_is_shown_beside_it(storage):
    spec = job()
    study_id = study.create(storage, "study", spec)
    number, assignment = study.ask(storage, "study", spec, problem(spec), 0)
    study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.9))
    shown = storage.get_all_trials(study_id)[0].user_attrs
    assert shown["accuracy"] == 0.9
    assert shown["weights"] == 26_620


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("objectives", [["loss"], ["loss", "macs"]], ids=["one objective", "two"])
def test_the_same_seed_gives_the_same_trials_and_another_seed_others(sampler, objectives):
    def points(seed):
        spec = job({"sampler": {"kind": sampler}, "objectives": objectives}, seed=seed)
        storage = InMemoryStorage()
        search(storage, spec, bowl, 12)
        return [record.params for record in study.trials(storage, "study")]

    first = points(0)
    assert points(0) == first
    assert points(1)[:2] == first[:2]
    assert all(one != other for one, other in zip(points(1)[2:], first[2:], strict=True))


def test_no_two_layers_get_the_same_random_numbers():
    spec = job({"sampler": {"kind": "random"}})
    storage = InMemoryStorage()
    search(storage, spec, bowl, 12)
    for record in study.trials(storage, "study")[2:]:
        assert len(set(record.params.values())) == 3


def test_workers_that_ask_before_any_result_get_different_points():
    spec = job()
    storage = InMemoryStorage()
    study.create(storage, "study", spec)
    asked = [study.ask(storage, "study", spec, problem(spec), ordinal)[1].counts for ordinal in range(12)]
    assert len(set(asked)) == 12


def test_tpe_finds_better_points_than_chance():
    def best(sampler, seed):
        spec = job({"sampler": {"kind": sampler}, "trials": 30}, seed=seed)
        return min(search(InMemoryStorage(), spec, bowl, 30))

    seeds = range(5)
    assert statistics.median(best("tpe", seed) for seed in seeds) < 0.5 * statistics.median(
        best("random", seed) for seed in seeds
    )


def test_a_point_of_a_free_space_lies_within_its_bounds():
    spec = job({"space": {"kind": "free", "low": 0.01, "high": 0.2}})
    storage = InMemoryStorage()
    search(storage, spec, lambda params: math.fsum(params.values()), 12)
    for record in study.trials(storage, "study"):
        assert all(0.01 <= density <= 0.2 for density in record.params.values())


def test_two_processes_never_share_a_trial_nor_lose_a_start(tmp_path):
    spec = job()
    storage = database(tmp_path / "optuna.db")
    study_id = study.create(storage, "study", spec)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        # Ordinals 2 to 6 are asked by both, as after a lease that ran out too soon.
        one, other = pool.starmap(ask_all, [(tmp_path / "optuna.db", each) for each in (range(7), range(11, 1, -1))])
    records = study.trials(storage, "study")
    assert [record.ordinal for record in records] == list(range(12))
    assert len({record.number for record in records}) == 12
    assert all(record.state == "running" and len(record.params) == 3 for record in records)
    for ordinal, (number, _) in [*zip(range(7), one, strict=True), *zip(range(11, 1, -1), other, strict=True)]:
        assert records[ordinal].number == number
    nobodys = [each for each in storage.get_all_trials(study_id) if each.number not in {r.number for r in records}]
    assert all(each.state == TrialState.FAIL and not each.params for each in nobodys)
    assert [records[k].params for k in range(2)] == [dict(start.params) for start in starts(spec, problem(spec).layers)]
    storage.engine.dispose()


def test_of_two_trials_with_one_ordinal_the_first_is_the_slots(storage):
    spec = job()
    study_id = study.create(storage, "study", spec)
    find = study._find
    # A worker looks for the trial of its slot just before another, thought dead, creates it.
    first = study.ask(storage, "study", spec, problem(spec), 5)
    answers = iter([None])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study, "_find", lambda *arguments: next(answers, find(*arguments)))
        again = study.ask(storage, "study", spec, problem(spec), 5)
    assert again == first
    states = [trial.state for trial in storage.get_all_trials(study_id)]
    assert states == [TrialState.RUNNING, TrialState.FAIL]
    assert [record.ordinal for record in study.trials(storage, "study")] == [5]
