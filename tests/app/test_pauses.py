"""Jobs halted and let go on."""

from collections.abc import Callable

import pytest
from by_hand import LEASE, Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine, update

from app import endings, events, fences, jobs, pauses, reaper, runs, tables
from app.database import now
from app.jobs import Job
from app.pauses import NotPausable
from app.settings import Settings

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
CONFIRM = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]}


def age(db: Engine, job: Job, seconds: float) -> None:
    """Lets time pass for a job: what it has noted is longer ago."""
    noted = tables.jobs.c
    earlier = {"paused_at": noted.paused_at - seconds, "deadline": noted.deadline - seconds}
    with db.begin() as connection:
        connection.execute(update(tables.jobs).where(noted.id == job.id).values(**earlier))


def deadline(db: Engine, job: Job) -> float:
    with db.connect() as connection:
        found = connection.execute(tables.jobs.select().where(tables.jobs.c.id == job.id)).one()
    assert found.deadline is not None
    return float(found.deadline)


@pytest.mark.parametrize("begun", [False, True])
def test_a_paused_job_hands_nothing_out_until_it_is_resumed(
    db: Engine, submit: Submit, hand: Hands, begun: bool
) -> None:
    job, one = submit(trials=2), hand()
    if begun:
        one.do()
    assert pauses.pause(db, job.id).state == "paused"
    assert one.claim() is None
    assert pauses.resume(db, job.id).state == ("running" if begun else "queued")
    one.do_all()
    assert jobs.get(db, job.id).state == "completed"
    assert len(runs.of_job(db, job.id, "search")) == 2
    told = [event.type for event in events.after(db, 0, job.id) if event.type in ("job.paused", "job.resumed")]
    assert told == ["job.paused", "job.resumed"]


def test_a_confirmation_that_was_paused_goes_on_where_it_was(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1, confirm=CONFIRM), hand()
    one.do()
    one.do()
    assert pauses.pause(db, job.id).stage == "shortlist"
    assert one.claim() is None
    assert pauses.resume(db, job.id).state == "confirming"
    claim = one.take()
    assert (claim.stage, claim.ordinal) == ("shortlist", 1)


def test_a_run_given_back_while_paused_is_the_same_attempt_and_point_afterwards(
    db: Engine, submit: Submit, hand: Hands
) -> None:
    job, one = submit(), hand()
    claim = one.take()
    number = one.begin(claim)
    pauses.pause(db, job.id)
    assert jobs.halted(db, job.id) == "paused"
    fences.release(db, claim, now(db))
    assert one.claim() is None
    pauses.resume(db, job.id)
    again = one.take()
    assert (again.run_id, again.attempt, again.number) == (claim.run_id, 1, number)


def test_what_ends_while_paused_is_kept_and_moves_nothing_on(
    db: Engine, submit: Submit, hand: Hands, storage: RDBStorage, store: Settings
) -> None:
    job, one = submit(trials=1), hand()
    claim = one.take()
    one.begin(claim)
    pauses.pause(db, job.id)
    one.finish(claim)
    look = reaper.Reaper(store).look
    look(db, storage)
    assert jobs.get(db, job.id).state == "paused"
    pauses.resume(db, job.id)
    look(db, storage)
    assert jobs.get(db, job.id).state == "completed"


def test_a_worker_silent_while_its_job_is_paused_loses_its_run_and_nobody_else_gets_it_yet(
    db: Engine, submit: Submit, hand: Hands, storage: RDBStorage
) -> None:
    job, one = submit(), hand()
    one.take(at=now(db) - 2 * LEASE)
    pauses.pause(db, job.id)
    endings.sweep(db, storage, max_attempts=3)
    assert [run.attempt for run in runs.of_job(db, job.id)] == [2]
    assert hand("two").claim() is None
    pauses.resume(db, job.id)
    assert hand("two").take().attempt == 2


def test_a_deadline_stands_still_while_its_job_is_paused(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=5, max_minutes=1.0), hand()
    one.do()
    left = deadline(db, job) - now(db)
    pauses.pause(db, job.id)
    age(db, job, 1000.0)
    pauses.resume(db, job.id)
    assert left - 30 < deadline(db, job) - now(db) <= left
    assert one.claim() is not None


@pytest.mark.parametrize("held", [False, True])
def test_a_paused_job_is_cancelled_like_a_running_one(
    db: Engine, submit: Submit, hand: Hands, storage: RDBStorage, held: bool
) -> None:
    job, one = submit(), hand()
    claim = one.take()
    number = one.begin(claim)
    pauses.pause(db, job.id)
    if held:
        assert jobs.cancel(db, job.id).state == "running"
        one.finish(claim, "cancelled")
    else:
        fences.release(db, claim, now(db))
        jobs.cancel(db, job.id)
        endings.sweep(db, storage, max_attempts=3)
    assert jobs.get(db, job.id).state == "cancelled"
    assert one.trials(job) == {number: "failed"}


def test_a_job_paused_before_it_began_is_cancelled_at_once(db: Engine, submit: Submit) -> None:
    job = submit()
    pauses.pause(db, job.id)
    assert jobs.cancel(db, job.id).state == "cancelled"


def test_only_a_job_on_its_way_is_paused_and_only_a_paused_one_resumed(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1), hand()
    with pytest.raises(NotPausable, match="the job is queued"):
        pauses.resume(db, job.id)
    pauses.pause(db, job.id)
    assert pauses.pause(db, job.id).state == "paused", "asking twice is no error"
    pauses.resume(db, job.id)
    claim = one.take()
    jobs.cancel(db, job.id)
    with pytest.raises(NotPausable, match="being stopped"):
        pauses.pause(db, job.id)
    one.finish(claim, "cancelled")
    with pytest.raises(jobs.JobFinished, match="been cancelled"):
        pauses.pause(db, job.id)
    with pytest.raises(jobs.JobFinished):
        pauses.resume(db, job.id)
    with pytest.raises(jobs.JobNotFound):
        pauses.pause(db, "nobody")


def test_a_job_paused_while_a_stage_was_to_begin_stays_where_it_is(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, one = submit(trials=1, confirm=CONFIRM), hand()
    claim = one.take()
    one.begin(claim)
    read = endings.advance.__globals__["reports"].read

    def paused_meanwhile(*given: object) -> object:
        pauses.pause(db, job.id)
        return read(*given)

    monkeypatch.setattr("app.advance.reports.read", paused_meanwhile)
    one.finish(claim)
    found = jobs.get(db, job.id)
    assert (found.state, found.stage) == ("paused", "search")
    assert runs.of_job(db, job.id, "shortlist") == []
