"""A search of which too much fails."""

from collections.abc import Callable

from by_hand import Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import endings, events, jobs, pauses, runs
from app.jobs import Job

Submit = Callable[..., Job]
Hands = Callable[..., Hand]


def test_one_failure_too_many_ends_the_job_and_its_other_runs(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one, two = submit(trials=6, max_failed=1), hand("one"), hand("two")
    other = two.take()
    number = two.begin(other)
    one.do("failed")
    one.do()
    assert jobs.halted(db, job.id) is None, "as many as allowed"
    one.do("failed")
    assert jobs.halted(db, job.id) == "cancelled"
    assert one.claim() is None
    two.finish(other, "cancelled")
    ended = jobs.get(db, job.id)
    assert ended.state == "failed"
    assert ended.error == "2 trials failed, max_failed is 1; the last failure: it diverged"
    assert [run.state for run in runs.of_job(db, job.id)] == ["cancelled", "failed", "complete", "failed"]
    assert number is not None
    assert one.trials(job)[number] == "failed"
    assert events.after(db, 0, job.id)[-1].type == "job.failed"


def test_waiting_runs_are_closed_with_the_job(db: Engine, submit: Submit, hand: Hands, storage: RDBStorage) -> None:
    job, one = submit(trials=6, max_failed=0), hand()
    waiting, failing = one.take(), one.take()
    one.begin(failing)
    endings.fences.release(db, waiting, endings.now(db))
    one.finish(failing, "failed")
    endings.sweep(db, storage, max_attempts=3)
    assert [run.state for run in runs.of_job(db, job.id)] == ["cancelled", "failed"]
    assert jobs.get(db, job.id).state == "failed"


def test_without_a_limit_trials_may_fail(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=3), hand()
    for ending in ("failed", "failed", "complete"):
        one.do(ending)
    assert jobs.get(db, job.id).state == "completed"


def test_failures_of_the_confirmation_cost_seeds_not_the_job(db: Engine, submit: Submit, hand: Hands) -> None:
    confirm = {"shortlist": 1, "shortlist_seeds": 3, "seeds": 2, "arms": []}
    job, one = submit(trials=1, max_failed=0, confirm=confirm), hand()
    one.do()
    one.do("failed")
    assert jobs.get(db, job.id).state == "confirming"


def test_a_paused_job_ends_only_when_it_is_resumed(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=3, max_failed=0), hand()
    claim = one.take()
    one.begin(claim)
    pauses.pause(db, job.id)
    one.finish(claim, "failed")
    assert jobs.get(db, job.id).state == "paused"
    pauses.resume(db, job.id)
    assert one.claim() is None
    endings.advance(db, job.id)
    assert jobs.get(db, job.id).state == "failed"


def test_a_job_that_was_cancelled_first_stays_cancelled(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=3, max_failed=0), hand()
    claim = one.take()
    one.begin(claim)
    jobs.cancel(db, job.id)
    one.finish(claim, "failed")
    ended = jobs.get(db, job.id)
    assert (ended.state, ended.error) == ("cancelled", None)
