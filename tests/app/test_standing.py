"""How jobs stand, read in a few queries however many there are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from by_hand import Hand, outcome
from sqlalchemy import Engine, event

from app import jobs, runs, standing
from app.jobs import Job

Submit = Callable[..., Job]
Hands = Callable[..., Hand]


@contextmanager
def counted(db: Engine) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    told: list[str] = []

    def tell(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        told.append(statement)

    event.listen(db, "before_cursor_execute", tell)
    yield told
    event.remove(db, "before_cursor_execute", tell)


def test_the_best_trial_is_the_first_of_the_least_loss(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=4), hand()
    for loss in (0.5, 0.25, 0.25):
        one.do(result=outcome(loss))
    one.do(ending="pruned")
    [stands] = standing.of(db, [job])
    assert stands.best is not None
    assert (stands.best.ordinal, stands.best.outcome["loss"]) == (1, 0.25)  # type: ignore[index]


def test_a_job_that_maximises_accuracy_is_led_by_the_most_accurate(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=3, objectives=["accuracy"]), hand()
    for accuracy in (0.5, 0.75, 0.625):
        one.do(result=outcome(1 - accuracy) | {"loss": accuracy})
    [stands] = standing.of(db, [job])
    assert stands.best is not None
    assert stands.best.ordinal == 1


def test_each_of_several_jobs_has_its_own_best_and_one_without_trials_none(
    db: Engine, submit: Submit, hand: Hands
) -> None:
    one = hand()
    first, second = submit(trials=2, name="first"), submit(trials=2, name="second", objectives=["accuracy"])
    for _ in range(4):
        claim = one.take()
        one.begin(claim)
        one.finish(claim, result=outcome(0.1 * (1 + claim.ordinal)))
    third = submit(name="third")
    stand = standing.of(db, [third, second, first])
    assert [each.best and (each.best.job_id, each.best.ordinal) for each in stand] == [
        None,
        (second.id, 0),
        (first.id, 0),
    ]


def test_no_more_is_asked_of_the_database_for_more_jobs(db: Engine, submit: Submit, hand: Hands) -> None:
    few = [submit(trials=2, name=f"job {number}") for number in range(2)]
    many = few + [submit(trials=2, name=f"job {number}") for number in range(2, 12)]
    hand().do_all()
    few, many = [jobs.get(db, job.id) for job in few], [jobs.get(db, job.id) for job in many]
    with counted(db) as for_few:
        standing.of(db, few)
    with counted(db) as for_many:
        standing.of(db, many)
    assert len(for_few) == len(for_many)


def test_starts_are_shortlisted_beside_the_best_and_are_waited_for(db: Engine, submit: Submit, hand: Hands) -> None:
    confirm = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]}
    job, one = submit(trials=6, confirm=confirm), hand()
    began = one.take(at=1000.0)
    one.begin(began)
    one.finish(began)
    [stands] = standing.of(db, [jobs.get(db, job.id)])
    [run] = runs.of_job(db, job.id)
    assert (run.assignment or {})["label"].startswith("start:")
    starts = 1
    runs_left = 5 + (1 + starts) * 2 + (1 + 1) * 2
    took = stands.counts["search"]["seconds"]
    assert stands.seconds_left == runs_left * took
