from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import Hand, outcome
from sqlalchemy import Engine

from app import events, jobs, reports, runs
from app.advance import advance, stalled
from app.jobs import Job

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
CONFIRM = {"shortlist": 2, "shortlist_seeds": 2, "seeds": 2, "arms": ["same_capacity", "erk"]}


def types(db: Engine) -> list[str]:
    return [event.type for event in events.after(db, 0) if event.type.startswith("job.")]


def search(one: Hand) -> None:
    job = jobs.page(one.db)[0][0]
    while jobs.get(one.db, job.id).stage == "search" and not jobs.get(one.db, job.id).ended:
        one.do()


def test_a_job_goes_from_search_to_shortlist_to_final_to_its_report(db: Engine, submit: Submit, hand: Hands) -> None:
    job = submit(trials=3, confirm=CONFIRM)
    hand().do_all()
    done = jobs.get(db, job.id)
    assert (done.state, done.error) == ("completed", None)
    assert types(db) == ["job.submitted", "job.running", "job.confirming", "job.confirming", "job.completed"]
    stages = [run.stage for run in runs.of_job(db, job.id)]
    assert stages.count("search") == 3
    assert stages.count("shortlist") >= 2
    assert stages.count("final") >= 4
    assert done.report is not None
    assert done.report["job"]["state"] == "completed"
    assert len(done.report["trials"]) == 3
    assert done.report["verdict"]
    assert reports.current(db, job.id) == done.report


def test_without_a_confirmation_the_search_completes_the_job(db: Engine, submit: Submit, hand: Hands) -> None:
    job = submit(trials=2)
    hand().do_all()
    assert jobs.get(db, job.id).state == "completed"
    assert types(db) == ["job.submitted", "job.running", "job.completed"]


def test_a_stage_is_left_only_when_nothing_of_it_is_open(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    open_run = one.take()
    one.begin(open_run)
    one.do()
    advance(db, job.id)
    assert jobs.get(db, job.id).stage == "search"
    assert stalled(db) == []
    one.finish(open_run)
    assert jobs.get(db, job.id).stage == "shortlist"


def test_workers_that_advance_a_job_together_do_it_once(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    with monkeypatch.context() as patch:
        patch.setattr("app.endings.advance", lambda *_: None)  # the worker dies before it
        one.do()
        one.do()
    assert stalled(db) == [job.id]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: advance(db, job.id), range(4)))
    assert types(db).count("job.confirming") == 1
    ordinals = [run.ordinal for run in runs.of_job(db, job.id, "shortlist")]
    assert ordinals == list(range(len(ordinals)))
    assert jobs.get(db, job.id).stage == "shortlist"


def test_a_job_whose_trials_all_failed_fails_with_the_reason(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    one.do("failed")
    one.do("failed")
    failed = jobs.get(db, job.id)
    assert failed.state == "failed"
    assert failed.error == "none of the 2 trials was completed; the last failure: it diverged"
    assert types(db)[-1] == "job.failed"
    assert len(reports.current(db, job.id)["trials"]) == 2


def test_a_failed_confirmation_run_costs_its_seed_not_the_job(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=2, confirm=CONFIRM | {"shortlist_seeds": 3, "seeds": 3}), hand()
    search(one)
    one.do("failed")
    while jobs.get(db, job.id).stage == "shortlist":
        one.do()
    one.do("failed")
    one.do_all()
    assert jobs.get(db, job.id).state == "completed"


@pytest.mark.parametrize("stage", ["shortlist", "final"])
def test_too_few_confirmation_runs_fail_the_job_with_the_reason(
    db: Engine, submit: Submit, hand: Hands, stage: str
) -> None:
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    while jobs.get(db, job.id).stage != stage:
        one.do()
    while not jobs.get(db, job.id).ended:
        one.do("failed")
    failed = jobs.get(db, job.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert f"the {stage} stage" in failed.error
    assert "it diverged" in failed.error


def test_a_stage_that_cannot_be_made_fails_its_job_and_no_worker(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(*_: Any) -> Any:
        raise ValueError("no such candidate")

    monkeypatch.setattr("app.advance.confirm.shortlist", impossible)
    job = submit(trials=1, confirm=CONFIRM)
    hand().do()
    assert jobs.get(db, job.id).error == "the search stage could not be concluded: no such candidate"


def test_a_cancellation_while_a_stage_begins_wins(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(trials=1, confirm=CONFIRM)
    begin = jobs.get
    read = reports.read

    def cancelled_meanwhile(*given: Any) -> Any:
        jobs.cancel(db, job.id)
        return read(*given)

    monkeypatch.setattr("app.advance.reports.read", cancelled_meanwhile)
    hand().do()
    assert runs.of_job(db, job.id, "shortlist") == []
    monkeypatch.undo()
    assert stalled(db) == [job.id]
    advance(db, job.id)
    assert begin(db, job.id).state == "cancelled"


def test_the_report_of_an_unfinished_job_holds_what_is_known(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=3, confirm=CONFIRM), hand()
    one.do("complete", outcome(0.25))
    report = reports.current(db, job.id)
    assert [trial["loss"] for trial in report["trials"]] == [0.25]
    assert (report["confirmation"], report["verdict"]) == (None, None)
    assert report["job"]["state"] == "running"


@pytest.mark.parametrize("moves_on", ["before the job is read", "after the job is read"])
def test_a_job_that_another_moves_on_meanwhile_is_not_taken_for_one_without_results(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch, moves_on: str
) -> None:
    """A reaper and a worker find the same job stalled."""
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    with monkeypatch.context() as patch:
        patch.setattr("app.endings.advance", lambda *_: None)
        one.do()
        one.do()
    get, others = jobs.get, [lambda: advance(db, job.id)]

    def got(*given: Any) -> Job:
        if others and moves_on == "before the job is read":
            others.pop()()
        found = get(*given)
        if others:
            others.pop()()
        return found

    monkeypatch.setattr(jobs, "get", got)
    advance(db, job.id)
    monkeypatch.undo()
    moved = jobs.get(db, job.id)
    assert (moved.state, moved.stage, moved.error) == ("confirming", "shortlist", None)
    assert types(db).count("job.confirming") == 1
    one.do_all()
    assert jobs.get(db, job.id).state == "completed"
