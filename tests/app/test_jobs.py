from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from by_hand import Hand, problem, spec
from sqlalchemy import Engine, func, select

from app import counts, cursors, events, jobs, queueing, tables
from app.callers import SUBMIT, Caller
from app.database import reading
from app.jobs import Job

Submit = Callable[..., Job]
Hands = Callable[..., Hand]


def send(db: Engine, key: str | None, body: str = "a", owner: str = "local") -> tuple[Job, bool]:
    return queueing.submit(db, spec(), problem(spec()), by=Caller(owner, SUBMIT), key=key, body_hash=body)


def count(db: Engine) -> int:
    with reading(db) as connection:
        return connection.execute(select(func.count()).select_from(tables.jobs)).scalar_one()


def test_a_submitted_job_is_queued_with_every_default_written_out(db: Engine) -> None:
    job, created = send(db, None)
    assert created
    assert (job.state, job.stage, job.trials, job.started) == ("queued", "search", 4, None)
    assert job.spec["training"]["schedule"]["kind"] == "cosine"
    assert jobs.get(db, job.id) == job
    assert [event.type for event in events.after(db, 0)] == ["job.submitted"]


def test_the_same_key_and_body_make_one_job(db: Engine) -> None:
    first, created = send(db, "k")
    again, created_again = send(db, "k")
    assert (created, created_again) == (True, False)
    assert again.id == first.id
    assert count(db) == 1


def test_without_a_key_the_same_body_makes_two_jobs(db: Engine) -> None:
    assert send(db, None)[0].id != send(db, None)[0].id


def test_the_same_key_with_another_body_is_refused_and_makes_nothing(db: Engine) -> None:
    send(db, "k", "a")
    with pytest.raises(queueing.IdempotencyConflict, match="'k'"):
        send(db, "k", "b")
    assert count(db) == 1


def test_a_key_is_its_owners(db: Engine) -> None:
    assert send(db, "k", owner="ann")[0].id != send(db, "k", owner="bob")[0].id


def test_requests_with_one_key_at_the_same_moment_make_one_job(db: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(db, "k"), range(8)))
    assert len({job.id for job, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1
    assert count(db) == 1
    assert len(events.after(db, 0)) == 1


def test_an_unknown_job_is_not_found(db: Engine) -> None:
    with pytest.raises(jobs.JobNotFound, match="'nobody'"):
        jobs.get(db, "nobody")
    with pytest.raises(jobs.JobNotFound):
        jobs.cancel(db, "nobody")


def test_pages_follow_each_other_though_jobs_are_added_meanwhile(db: Engine, submit: Submit) -> None:
    ids = [submit().id for _ in range(5)]
    first, cursor = jobs.page(db, limit=2)
    submit()
    second, cursor = jobs.page(db, limit=2, cursor=cursor)
    submit()
    third, end = jobs.page(db, limit=2, cursor=cursor)
    assert [job.id for job in [*first, *second, *third]] == ids[::-1]
    assert end is None


def test_jobs_of_one_moment_are_all_listed(db: Engine, submit: Submit) -> None:
    ids = {submit().id for _ in range(4)}
    with db.begin() as connection:
        connection.execute(tables.jobs.update().values(created=1000.125))
    listed, cursor = jobs.page(db, limit=3)
    rest, _ = jobs.page(db, limit=3, cursor=cursor)
    assert {job.id for job in [*listed, *rest]} == ids


def test_a_page_is_filtered_by_state_and_by_part_of_the_name(db: Engine, submit: Submit) -> None:
    submit(name="alpha 100%")
    other = submit(name="beta 100 %")
    jobs.cancel(db, other.id)
    assert [job.name for job in jobs.page(db, state="cancelled")[0]] == ["beta 100 %"]
    assert [job.name for job in jobs.page(db, text="ALPHA")[0]] == ["alpha 100%"]
    assert [job.name for job in jobs.page(db, text="0%")[0]] == ["alpha 100%"]


@pytest.mark.parametrize("cursor", ["x", "", "é", "bm90aGluZw=="])
def test_a_cursor_of_no_list_is_refused(db: Engine, cursor: str) -> None:
    with pytest.raises(cursors.InvalidCursor):
        jobs.page(db, cursor=cursor)


def test_a_queued_job_is_cancelled_at_once_and_handed_out_no_more(db: Engine, submit: Submit, hand: Hands) -> None:
    job = submit()
    assert jobs.cancel(db, job.id).state == "cancelled"
    assert hand().claim() is None
    assert [event.type for event in events.after(db, 0)] == ["job.submitted", "job.cancelled"]
    with pytest.raises(jobs.JobFinished, match="been cancelled"):
        jobs.cancel(db, job.id)


def test_a_running_job_is_cancelled_when_its_last_run_has_stopped(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one, two = submit(), hand("one"), hand("two")
    first, second = one.take(), two.take()
    number = one.begin(first)
    assert jobs.cancel(db, job.id).state == "running"
    assert jobs.cancel(db, job.id).cancel_requested, "asking twice is no error"
    assert jobs.halted(db, job.id) == "cancelled"
    assert hand("three").claim() is None
    one.finish(first, "cancelled")
    assert jobs.get(db, job.id).state == "running"
    two.finish(second, "cancelled")
    assert jobs.get(db, job.id).state == "cancelled"
    assert one.trials(job) == {number: "failed"}


def test_a_finished_job_cannot_be_cancelled(db: Engine, submit: Submit, hand: Hands) -> None:
    job = submit(trials=1)
    hand().do()
    with pytest.raises(jobs.JobFinished, match="completed already"):
        jobs.cancel(db, job.id)


def test_counts_add_up_to_the_trials_asked(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=4), hand()
    for ending in ("complete", "pruned", "failed"):
        one.do(ending)
    one.take()
    counted = counts.of(db, [job.id])[job.id]
    search = counted["search"]
    assert {key: search[key] for key in ("asked", "done", "running", "pruned", "failed")} == {
        "asked": 4,
        "done": 1,
        "running": 1,
        "pruned": 1,
        "failed": 1,
    }
    assert search["seconds"] == counted["seconds"] >= 0
    assert counted["attempts"] == 4
    assert counted["final"]["asked"] == 0
