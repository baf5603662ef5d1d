from collections.abc import Callable
from typing import Any

import pytest
from by_hand import LEASE, Hand, epoch, outcome
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import database, endings, events, fences, jobs, runs
from app.claims import Claim
from app.jobs import Job

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
LONG_AGO = 1000.0
WRITES: dict[str, Callable[[Engine, Claim], Any]] = {
    "renew": lambda db, claim: fences.renew(db, claim, database.now(db), LEASE),
    "record": lambda db, claim: fences.record(db, claim, [epoch(1)], database.now(db), LEASE),
    "finish": lambda db, claim: fences.finish(db, claim, "complete", outcome(), None, database.now(db), LEASE),
    "release": lambda db, claim: fences.release(db, claim, database.now(db)),
    "crash": lambda db, claim: fences.crash(db, claim, "died", database.now(db), 3),
}


def sweep(one: Hand, max_attempts: int = 3) -> None:
    endings.sweep(one.db, one.storage, max_attempts)


def states(db: Engine, job: Job) -> list[tuple[int, int, str]]:
    return [(run.ordinal, run.attempt, run.state) for run in runs.of_job(db, job.id)]


def test_a_lost_run_is_handed_out_again_with_its_trial_and_its_point(db: Engine, submit: Submit, hand: Hands) -> None:
    job, dead, other = submit(trials=2), hand("dead"), hand("other")
    first = dead.take(at=LONG_AGO)
    number = dead.begin(first)
    sweep(other)
    again = other.take()
    assert (again.ordinal, again.attempt, again.number) == (first.ordinal, 2, number)
    assert again.assignment == runs.of_job(db, job.id)[0].assignment
    assert again.assignment is not None
    assert other.begin(again) == number
    other.finish(again)
    other.do()
    assert other.trials(job) == {0: "complete", 1: "complete"}


def test_a_lease_that_holds_is_left_alone(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(), hand()
    one.begin(one.take())
    sweep(hand("other"))
    assert states(db, job) == [(0, 1, "running")]


@pytest.mark.parametrize("write", WRITES)
def test_a_zombie_is_fenced(db: Engine, submit: Submit, hand: Hands, write: str) -> None:
    job, dead, other = submit(trials=1), hand("dead"), hand("other")
    zombie = dead.take(at=LONG_AGO)
    dead.begin(zombie)
    sweep(other)
    other.begin(other.take())
    with pytest.raises(fences.Fenced):
        WRITES[write](db, zombie)
    assert states(db, job) == [(0, 2, "running")]
    assert runs.curves(db, job.id) == {}


def test_a_zombie_cannot_ask_for_a_slot_that_is_anothers(submit: Submit, hand: Hands) -> None:
    job, dead, other = submit(trials=1), hand("dead"), hand("other")
    zombie = dead.take(at=LONG_AGO)
    sweep(other)
    other.begin(other.take())
    with pytest.raises(fences.Fenced):
        dead.begin(zombie)
    assert list(other.trials(job)) == [0]


def test_a_zombie_that_wakes_before_it_was_missed_goes_on(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1), hand()
    claim = one.take(at=LONG_AGO)
    one.begin(claim)
    fences.renew(db, claim, database.now(db), LEASE)
    sweep(hand("other"))
    assert states(db, job) == [(0, 1, "running")]


def test_a_crash_between_optunas_trial_and_our_row_makes_no_second_trial(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, dead, other = submit(trials=1), hand("dead"), hand("other")
    claim = dead.take(at=LONG_AGO)
    with monkeypatch.context() as patch:
        patch.setattr(fences, "begin", _die)
        with pytest.raises(Dead):
            dead.begin(claim)
    assert dead.trials(job) == {0: "running"}
    assert runs.of_job(db, job.id)[0].number is None
    sweep(other)
    other.do()
    assert other.trials(job) == {0: "complete"}


def test_a_trial_left_by_a_crash_is_told_when_its_slot_fails_for_good(
    submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, dead = submit(trials=1), hand("dead")
    claim = dead.take(at=LONG_AGO)
    monkeypatch.setattr(fences, "begin", _die)
    with pytest.raises(Dead):
        dead.begin(claim)
    sweep(hand("other"), max_attempts=1)
    assert dead.trials(job) == {0: "failed"}


def test_a_slot_whose_workers_all_died_before_they_asked_is_a_failed_trial_too(
    db: Engine, submit: Submit, hand: Hands
) -> None:
    job = submit(trials=1)
    hand("dead").take(at=LONG_AGO)
    sweep(hand("other"), max_attempts=1)
    [run] = runs.of_job(db, job.id)
    assert (run.state, run.number) == ("failed", 0)
    assert hand().trials(job) == {0: "failed"}


@pytest.mark.parametrize("told", [False, True], ids=["before Optuna is told", "after Optuna is told"])
def test_a_crash_while_finishing_loses_nothing_and_trains_nothing_again(
    db: Engine, storage: RDBStorage, submit: Submit, hand: Hands, told: bool
) -> None:
    job, dead, other = submit(trials=1), hand("dead"), hand("other")
    claim = dead.take()
    dead.begin(claim)
    run = fences.finish(db, claim, "complete", outcome(0.25), None, LONG_AGO, LEASE)
    if told:
        endings.tell(db, storage, run)
    assert other.claim() is None
    sweep(other)
    assert states(db, job) == [(0, 1, "complete")]
    assert other.trials(job) == {0: "complete"}
    assert jobs.get(db, job.id).state == "completed"
    assert [event.type for event in events.after(db, 0)].count("run.finished") == 1


def test_after_the_last_attempt_the_run_has_failed_and_optuna_is_told(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1), hand()
    for attempt in (1, 2, 3):
        claim = one.take()
        assert claim.attempt == attempt
        one.begin(claim)
        fences.crash(db, claim, "the trainer was killed by SIGKILL", database.now(db) - 1, 3)
        assert one.trials(job) == {0: "running"}
    sweep(one)
    [run] = runs.of_job(db, job.id)
    assert (run.attempt, run.state) == (3, "failed")
    assert run.error == "the trainer was killed by SIGKILL (attempt 3 of 3)"
    assert one.trials(job) == {0: "failed"}
    assert one.claim() is None


def test_a_released_run_keeps_its_attempt_its_trial_and_no_epochs(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one, other = submit(trials=1), hand(), hand("other")
    claim = one.take()
    number = one.begin(claim)
    fences.record(db, claim, [epoch(1)], database.now(db), LEASE)
    fences.release(db, claim, database.now(db))
    again = other.take()
    assert (again.attempt, again.number) == (1, number)
    other.begin(again)
    fences.record(db, again, [epoch(1), epoch(2)], database.now(db), LEASE)
    assert [len(epochs) for epochs in runs.curves(db, job.id).values()] == [2]
    with pytest.raises(fences.Fenced):
        fences.renew(db, claim, database.now(db), LEASE)


@pytest.mark.parametrize("loss", ["release", "crash", "silence"])
def test_a_run_of_a_cancelled_job_is_not_repeated(db: Engine, submit: Submit, hand: Hands, loss: str) -> None:
    job, one = submit(trials=2), hand()
    claim = one.take(at=LONG_AGO)
    number = one.begin(claim)
    jobs.cancel(db, job.id)
    if loss != "silence":
        WRITES[loss](db, claim)
    sweep(one)
    assert states(db, job) == [(0, 1, "cancelled")]
    assert jobs.get(db, job.id).state == "cancelled"
    assert one.trials(job) == {number: "failed"}


def test_a_waiting_run_of_a_cancelled_job_is_closed(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=2), hand()
    claim = one.take()
    number = one.begin(claim)
    fences.release(db, claim, database.now(db))
    jobs.cancel(db, job.id)
    sweep(one)
    assert states(db, job) == [(0, 1, "cancelled")]
    assert jobs.get(db, job.id).state == "cancelled"
    assert one.trials(job) == {number: "failed"}


def test_epochs_are_stored_and_told_together_and_not_a_number_is_null(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(), hand()
    claim = one.take()
    one.begin(claim)
    reports = [epoch(1), epoch(2) | {"egf_1": float("nan")}]
    fences.record(db, claim, reports, database.now(db), LEASE)
    [stored] = runs.curves(db, job.id).values()
    assert stored == [epoch(1), epoch(2) | {"egf_1": None}]
    told = [event.data for event in events.after(db, 0) if event.type == "run.epoch"]
    assert [(each["epoch"], each["ordinal"], each["run"]) for each in told] == [
        (1, 0, claim.run_id),
        (2, 0, claim.run_id),
    ]


def test_peers_are_the_other_trials_at_that_epoch(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=4), hand()
    claims = []
    for loss in (1.0, 2.0, 3.0):
        claim = one.take(at=LONG_AGO if loss == 3.0 else None)
        one.begin(claim)
        fences.record(
            db, claim, [epoch(1, loss), epoch(2, loss / 2)], LONG_AGO if loss == 3.0 else database.now(db), LEASE
        )
        claims.append(claim)
    assert runs.peers(db, job.id, claims[0].run_id, 1) == [(30, 2.0), (30, 3.0)]
    one.finish(claims[1], "pruned")
    sweep(one)  # the third is lost: what it reported is its next attempt's to report again
    assert runs.peers(db, job.id, claims[0].run_id, 2) == [(30, 1.0)]
    assert runs.peers(db, job.id, claims[0].run_id, 3) == []


class Dead(BaseException):
    pass


def _die(*_: object) -> None:
    raise Dead
