"""What a worker remembers of Optuna's trials."""

from typing import Any

import pytest
from optuna.storages import RDBStorage
from search_stubs import database, job, outcome, problem

from search import study
from search.cached_studies import KEPT, CachedStudies


@pytest.fixture
def storage(tmp_path):
    opened = database(tmp_path / "optuna.db")
    yield opened
    opened.engine.dispose()


@pytest.fixture
def read(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials each look at the database gave."""
    counts: list[int] = []
    look = storage._get_trials

    def counted(*given: Any, **named: Any) -> Any:
        found = look(*given, **named)
        counts.append(len(found))
        return found

    monkeypatch.setattr(storage, "_get_trials", counted)
    return counts


def test_trials_that_ended_are_read_once_and_those_of_others_are_seen(storage: RDBStorage, read: list[int]) -> None:
    spec, studies = job(), CachedStudies(storage)
    study.create(storage, "study", spec)
    for ordinal in range(10):
        # Another worker's trial, asked and told past the cache.
        number, assignment = study.ask(storage, "study", spec, problem(spec), 2 * ordinal)
        study.tell(storage, "study", spec, number, "complete", outcome(spec, assignment, 0.5, 1.0))
        read.clear()
        number, assignment = study.ask(studies.of("study"), "study", spec, problem(spec), 2 * ordinal + 1)
        assert max(read) <= 2, "its own, and the other's last"
        study.tell(studies.of("study"), "study", spec, number, "complete", outcome(spec, assignment, 0.5, 1.0))
    cached = study.trials(studies.of("study"), "study")
    assert cached == study.trials(storage, "study")
    assert [trial.state for trial in cached] == ["complete"] * 20


def test_the_points_are_those_that_are_asked_for_past_the_cache(storage: RDBStorage) -> None:
    spec, studies = job(), CachedStudies(storage)
    for name, asked in (("plain", storage), ("cached", studies.of("cached"))):
        study.create(storage, name, spec)
        for ordinal in range(16):
            number, assignment = study.ask(asked, name, spec, problem(spec), ordinal)
            loss = float(sum(assignment.counts[:1]))
            study.tell(asked, name, spec, number, "complete", outcome(spec, assignment, 0.5, loss))
    plain, cached = (study.trials(storage, name) for name in ("plain", "cached"))
    assert [trial.params for trial in plain] == [trial.params for trial in cached]


def test_a_worker_remembers_few_studies(storage: RDBStorage, read: list[int]) -> None:
    spec, studies = job(), CachedStudies(storage)
    names = [f"study {number}" for number in range(KEPT + 1)]
    for name in names:
        study.create(storage, name, spec)
        number, assignment = study.ask(studies.of(name), name, spec, problem(spec), 0)
        study.tell(studies.of(name), name, spec, number, "complete", outcome(spec, assignment, 0.5, 1.0))
        study.trials(studies.of(name), name)
    read.clear()
    study.trials(studies.of(names[-1]), names[-1])
    study.trials(studies.of(names[0]), names[0])
    assert read == [0, 1], "the first is forgotten, the last is not"
