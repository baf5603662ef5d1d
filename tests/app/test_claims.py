import multiprocessing
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from by_hand import LEASE, Hand, problem, spec
from sqlalchemy import Engine

from app import claims, database, events, fences, jobs, queueing, revisions, runs
from app.callers import SUBMIT, Caller
from app.jobs import Job
from app.settings import Settings

Submit = Callable[..., Job]
Hands = Callable[..., Hand]


def claim_all(settings: Settings, name: str) -> list[int]:
    db = database.engine(settings)
    ordinals = []
    while (claim := claims.claim(db, name, "host", database.now(db), LEASE)) is not None:
        ordinals.append(claim.ordinal)
    db.dispose()
    return ordinals


def claim_in_child(settings: Settings, name: str, answers: "multiprocessing.Queue[list[int]]") -> None:
    answers.put(claim_all(settings, name))


def test_threads_that_claim_at_once_get_each_slot_once(store: Settings, submit: Submit) -> None:
    submit(trials=40)
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda number: claim_all(store, str(number)), range(6)))
    assert sorted(ordinal for one in taken for ordinal in one) == list(range(40))


def test_processes_that_claim_at_once_get_each_slot_once(store: Settings, db: Engine, submit: Submit) -> None:
    submit(trials=40)
    db.dispose()  # a connection must not be open in two processes
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    children = [fork.Process(target=claim_in_child, args=(store, str(number), answers)) for number in range(4)]
    for child in children:
        child.start()
    taken = [answers.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert sorted(ordinal for one in taken for ordinal in one) == list(range(40))


def test_a_job_runs_from_its_first_claim(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(), hand()
    first, second = one.take(at=1000.0), one.take(at=1001.0)
    assert (first.ordinal, second.ordinal, first.attempt) == (0, 1, 1)
    assert jobs.get(db, job.id).started == 1000.0
    assert [event.type for event in events.after(db, 0)] == ["job.submitted", "job.running"]


def test_nothing_to_do_is_no_claim(hand: Hands) -> None:
    assert hand().claim() is None


def test_the_highest_priority_comes_first_then_the_fewest_at_work_then_the_oldest(submit: Submit, hand: Hands) -> None:
    old, young, urgent = submit(trials=2), submit(trials=2), submit(trials=1, priority=5)
    taken = [hand().take().job_id for _ in range(5)]
    assert taken == [urgent.id, old.id, young.id, old.id, young.id]


def test_no_more_than_max_parallel_are_at_work_at_once(submit: Submit, hand: Hands) -> None:
    submit(trials=5, max_parallel=2)
    one = hand()
    first = one.take()
    one.begin(first)
    one.take()
    assert one.claim() is None
    one.finish(first)
    assert one.take().ordinal == 2
    assert one.claim() is None


def test_a_repeat_counts_against_max_parallel_like_any_other(submit: Submit, hand: Hands, db: Engine) -> None:
    submit(trials=5, max_parallel=1)
    one = hand()
    fences.release(db, one.take(), at=database.now(db))
    assert one.take().ordinal == 0
    assert one.claim() is None


def test_after_its_deadline_a_job_gets_no_fresh_slot_but_ends_with_what_it_has(
    db: Engine, submit: Submit, hand: Hands
) -> None:
    job, one = submit(trials=5, max_minutes=1.0), hand()
    begun = database.now(db) - 120.0
    first = one.take(at=begun)
    second = one.take(at=begun + 59.0)
    assert one.claim(at=begun + 61.0) is None
    one.begin(first)
    one.finish(first)
    assert jobs.get(db, job.id).state == "running"
    one.begin(second)
    one.finish(second)
    ended = jobs.get(db, job.id)
    assert ended.state == "completed"
    assert ended.report is not None
    assert len(ended.report["trials"]) == 2


def test_a_repeat_goes_before_a_job_of_higher_priority(db: Engine, submit: Submit, hand: Hands) -> None:
    first = submit()
    claim = hand().take()
    submit(priority=100)
    fences.release(db, claim, at=database.now(db))
    assert hand().take().job_id == first.id


def test_the_budget_is_exact_whatever_fails(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=7), hand()
    endings = ["complete", "failed", "pruned", "failed", "failed", "complete", "pruned"]
    for ending in endings:
        one.do(ending)
    assert one.claim() is None
    assert Counter(one.trials(job).values()) == Counter(endings)
    assert [run.ordinal for run in runs.of_job(db, job.id, "search")] == list(range(7))
    assert jobs.get(db, job.id).state == "completed"


def test_an_idle_look_does_not_wait_for_a_writer(sqlite: Settings) -> None:
    db = database.engine(sqlite)
    with db.begin():  # holds SQLite's only write lock
        assert claims.claim(db, "one", "host", 0.0, LEASE) is None
    db.dispose()


@pytest.mark.parametrize("confirm", [{"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]}])
def test_the_runs_of_a_later_stage_are_handed_out_in_their_order(
    submit: Submit, hand: Hands, confirm: dict[str, object]
) -> None:
    submit(trials=1, confirm=confirm)
    one = hand()
    one.do()
    claim = one.take()
    assert (claim.stage, claim.ordinal, claim.number) == ("shortlist", 0, None)
    assert claim.assignment is not None
    assert claim.assignment["stage"] == "shortlist"
    assert one.take().ordinal == 1


def test_of_equal_priority_the_owner_with_the_fewest_at_work_comes_first(db: Engine, hand: Hands) -> None:
    def queued(owner: str, **given: object) -> str:
        asked = spec(trials=9, **given)
        return queueing.submit(db, asked, problem(asked), by=Caller(owner, SUBMIT))[0].id

    first, second, theirs = queued("ann"), queued("ann"), queued("bob")
    one = hand()
    held = [one.take() for _ in range(4)]
    assert [claim.job_id for claim in held] == [first, theirs, second, theirs]
    urgent = queued("ann", priority=1)
    assert hand("two").take().job_id == urgent, "priority goes before fairness"
    for claim in held[:1] + held[2:3]:
        one.begin(claim)
        one.finish(claim)
    revisions.revise(db, urgent, {"priority": 0})
    assert hand("three").take().job_id == first, "one at work against two"
