"""Searches that start from the best networks of earlier jobs."""

from typing import Any

import pytest
from search_stubs import complete

from search import confirm, space, steps
from search.faults import InvalidSpec
from search.points import Assignment, Finished
from search.problem import Problem, examine, problem_from, problem_json
from search.spec import JobSpec, parse
from search.starts import starts
from search.warm_start import Earlier, warmed

ID = "0123456789abcdef" * 2
OTHER = "f" * 32


def spec(network: Any = None, confirm: Any = None, **search: Any) -> JobSpec:
    given = {
        "name": "warm",
        "data": {"kind": "bundled", "name": "digits", "limit": 200},
        "network": network or {"kind": "mlp", "widths": [10]},
        "training": {"epochs": 2, "batch_size": 64},
        "search": {"space": {"kind": "free", "low": 0.05, "high": 0.5}, "trials": 6} | search,
        "confirm": confirm,
    }
    return parse(given)


BUDGET = {"kind": "budget", "weights": 100}


def problem(of: JobSpec) -> Problem:
    return examine(of, None)


def earlier(counts: tuple[int, ...], of: JobSpec | None = None, job_id: str = ID) -> Earlier:
    of = of or spec()
    return Earlier(job_id, of, problem(of), counts)


@pytest.mark.parametrize("counts", [(100, 20), (32, 5), (320, 50)])
def test_the_network_of_an_earlier_job_is_the_first_point_to_the_connection(counts: tuple[int, ...]) -> None:
    asked = spec()
    found = warmed(asked, problem(asked), [earlier(counts)])
    first, *others = starts(asked, found.layers, found.found)
    assert first.name == "job 01234567"
    assert space.counts(asked, found.layers, first.params) == counts
    assert [each.name for each in others] == [each.name for each in starts(asked, found.layers)]


def test_so_it_is_under_a_budget_before_the_starts_that_are_named() -> None:
    asked = spec(space=BUDGET, starts=["erk"])
    found = warmed(asked, problem(asked), [earlier((60, 40)), earlier((80, 20), job_id=OTHER)])
    given = starts(asked, found.layers, found.found)
    assert [start.name for start in given] == ["job 01234567", "job ffffffff", "erk"]
    assert [space.counts(asked, found.layers, start.params) for start in given[:2]] == [(60, 40), (80, 20)]


def test_starts_are_among_the_trials_asked() -> None:
    asked = spec(trials=1)
    found = warmed(asked, problem(asked), [earlier((100, 20))])
    assert [start.name for start in steps.step(asked, found, 0).given] == ["job 01234567"]


def test_a_problem_with_them_is_written_and_read() -> None:
    asked = spec()
    found = warmed(asked, problem(asked), [earlier((100, 20))])
    assert problem_from(problem_json(found)) == found
    without = {name: value for name, value in problem_json(found).items() if name != "earlier"}
    assert problem_from(without) == problem(asked), "of a job that was submitted before there were any"


@pytest.mark.parametrize("which", ["free", "budget"])
def test_they_are_confirmed_as_starts_at_the_capacity_of_the_best(which: str) -> None:
    shortlist = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": []}
    asked = spec(confirm=shortlist, **({} if which == "free" else {"space": BUDGET}))
    found = warmed(asked, problem(asked), [earlier((60, 40))])
    best = (100, 20) if which == "free" else (70, 30)
    ended = [_complete(0, "start:job 01234567", (60, 40), 0.5), _complete(1, "sampled", best, 0.1)]
    by_label = {run.label: run.counts for run in confirm.shortlist(asked, found, ended)}
    assert by_label["trial:1"] == best
    assert sum(by_label["start:job 01234567"]) == sum(best)
    assert by_label["start:job 01234567"] == ((72, 48) if which == "free" else (60, 40))


def _complete(number: int, label: str, counts: tuple[int, ...], loss: float) -> Finished:
    asked = spec()
    assigned = Assignment("search", number, 1, label, number, asked.network, asked.rewiring, counts)
    return complete(asked, assigned, 1 - loss)


@pytest.mark.parametrize(
    ("asked", "of", "counts", "words"),
    [
        (spec(), spec(network={"kind": "mlp", "widths": [9]}), (100, 20), r"fc1 \[9, 64\].*only those of this job fit"),
        (
            spec(),
            spec(network={"kind": "mlp", "widths": [10], "keep_dense": ["output"]}),
            (100, 100),
            "dense; only",
        ),
        (spec(), spec(), (10, 20), "no point of this job's space"),
        (spec(space=BUDGET), spec(), (60, 41), "fc1 60, output 41 connections"),
        (spec(space=BUDGET | {"window": 0.1}), spec(), (20, 80), "no point of this job's space"),
    ],
)
def test_what_is_no_point_of_the_space_is_refused(asked: JobSpec, of: JobSpec, counts: Any, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as refused:
        warmed(asked, problem(asked), [earlier(counts, of)])
    [fault] = refused.value.faults
    assert (fault["field"], fault["value"]) == ("search.warm_start.0", ID)


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"warm_start": ["x"]}, "'x' is not allowed"),
        ({"warm_start": [ID, ID]}, "names one twice"),
        ({"warm_start": [ID], "space": {"kind": "dictated"}}, "warm_start is not allowed with dictated"),
    ],
)
def test_what_cannot_be_named_is_refused(search: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        spec(**search)
