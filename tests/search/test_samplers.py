"""Every sampler that a job may name keeps the promises of asking; each is then looked at for what is its own."""

import statistics

import pytest
from optuna.storages import InMemoryStorage
from search_stubs import job, outcome, problem

from models.types import kind_of, members
from search import study
from search.faults import InvalidSpec
from search.sampler_settings import NSGA2, AnySampler

KINDS = [kind_of(each) for each in members(AnySampler)]
CASES = [(kind, ["loss"]) for kind in KINDS] + [(kind, ["loss", "macs"]) for kind in KINDS if kind != "cma_es"]
TRIALS = 10


def searched_with(kind, objectives=("loss",), trials=TRIALS, seed=0, **sampler):
    return job({"sampler": {"kind": kind, **sampler}, "objectives": objectives, "trials": trials}, seed=seed)


def bowl(params):
    """Best far from ERK: e-folds of -1.5, 1.2 and -0.8."""
    return sum((value - best) ** 2 for value, best in zip(params.values(), (-1.5, 1.2, -0.8), strict=True))


def run(spec, trials=None, storage=None):
    """The parameters of the trials, each told its place in the bowl."""
    storage = storage or InMemoryStorage()
    study.create(storage, "study", spec)
    for ordinal in range(spec.search.trials if trials is None else trials):
        number, assignment = study.ask(storage, "study", spec, problem(spec), ordinal)
        loss = bowl(study.trials(storage, "study")[ordinal].params)
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.5, loss))
    return [record.params for record in study.trials(storage, "study")]


@pytest.mark.parametrize(("kind", "objectives"), CASES)
def test_the_same_seed_gives_the_same_points_another_seed_others(kind, objectives):
    first = run(searched_with(kind, objectives))
    assert run(searched_with(kind, objectives)) == first
    assert len({tuple(params.values()) for params in first[:5]}) == 5
    other = run(searched_with(kind, objectives, seed=1), trials=4)
    assert other[:2] == first[:2]
    assert other[2] != first[2]
    assert other[3] != first[3]


@pytest.mark.parametrize(("kind", "objectives"), CASES)
def test_a_worker_that_dies_while_asking_changes_nothing(kind, objectives, monkeypatch):
    spec = searched_with(kind, objectives)
    whole, broken = InMemoryStorage(), InMemoryStorage()
    for storage in (whole, broken):
        run(spec, TRIALS - 1, storage)
    expected = study.ask(whole, "study", spec, problem(spec), TRIALS - 1)
    write, written = InMemoryStorage.set_trial_param, []

    def dying(self, *arguments):
        if written:
            raise KeyboardInterrupt
        written.append(arguments)
        write(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(InMemoryStorage, "set_trial_param", dying)
        with pytest.raises(KeyboardInterrupt):
            study.ask(broken, "study", spec, problem(spec), TRIALS - 1)
    assert study.ask(broken, "study", spec, problem(spec), TRIALS - 1) == expected


@pytest.mark.parametrize(("kind", "objectives"), CASES)
def test_every_point_has_exactly_the_budget_also_beside_trials_that_failed_or_still_run(kind, objectives):
    spec, storage = searched_with(kind, objectives), InMemoryStorage()
    study.create(storage, "study", spec)
    for ordinal in range(TRIALS):
        number, assignment = study.ask(storage, "study", spec, problem(spec), ordinal)
        assert sum(assignment.counts) == 26_620
        state = ("complete", "failed", "pruned", None)[ordinal % 4]
        if state:
            measured = outcome(spec, assignment, 0.5 + ordinal / 100) if state == "complete" else None
            study.tell(storage, "study", spec, number, state, measured)
    assert len(study.trials(storage, "study")) == TRIALS


@pytest.mark.parametrize("kind", ["gp", "cma_es", "nsga2"])
def test_a_sampler_that_learns_ends_nearer_to_the_best_point_than_it_began(kind):
    spec = searched_with(kind, trials=28, **({"population": 6} if kind == "nsga2" else {}))
    losses = [bowl(params) for params in run(spec)]
    assert statistics.median(losses[-8:]) < 0.7 * statistics.median(losses[2:10])


def test_the_points_of_qmc_fill_the_space_evenly():
    # Of 2^m consecutive points of a Sobol' sequence each of 2^m equal intervals holds one, in every dimension.
    spec = searched_with("qmc", trials=10)
    points = run(spec)[2:]
    for name in points[0]:
        assert sorted(int((params[name] + 2) / 4 * 8) for params in points) == list(range(8))


def test_starts_belong_to_the_first_generation_of_nsga2():
    spec, storage = searched_with("nsga2", population=4), InMemoryStorage()
    run(spec, storage=storage)
    study_id = storage.get_study_id_from_name("study")
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in storage.get_all_trials(study_id)]
    assert generations == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_a_population_is_a_quarter_of_the_trials_unless_it_is_named():
    assert NSGA2().size(32) == 8
    assert NSGA2().size(10) == 4
    assert NSGA2(population=5).size(1000) == 5


def test_cma_es_is_refused_with_several_objectives():
    with pytest.raises(InvalidSpec, match="cma_es is not allowed with 2 objectives"):
        searched_with("cma_es", ["loss", "macs"])


def test_an_unknown_sampler_is_refused_with_those_there_are():
    with pytest.raises(InvalidSpec, match="'tpe', 'random', 'gp', 'nsga2', 'cma_es', 'qmc'"):
        searched_with("annealing")
