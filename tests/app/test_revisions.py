"""What an owner changes of a job on its way, and more trials of one that is completed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import Hand, outcome
from optuna.storages import RDBStorage
from sqlalchemy import Engine, select

from app import advance, counts, endings, events, jobs, pauses, reaper, reports, revisions, runs, tables
from app.jobs import Job
from app.revisions import NotNow
from app.settings import Settings
from search import study
from search.faults import InvalidSpec
from search.spec import parse

Submit = Callable[..., Job]
Hands = Callable[..., Hand]
CONFIRM = {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]}


def test_a_raised_priority_changes_who_comes_first(db: Engine, submit: Submit, hand: Hands) -> None:
    submit()
    young = submit()
    changed = revisions.revise(db, young.id, {"priority": 7})
    assert (changed.priority, changed.spec["priority"]) == (7, 7)
    assert hand().take().job_id == young.id
    assert events.after(db, 0, young.id)[1].type == "job.changed"


def test_a_limit_of_runs_at_once_is_set_and_lifted(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(), hand()
    one.take()
    assert revisions.revise(db, job.id, {"max_parallel": 1}).spec["search"]["max_parallel"] == 1
    assert one.claim() is None
    revisions.revise(db, job.id, {"max_parallel": None})
    assert one.claim() is not None


def test_more_trials_of_a_running_job_are_handed_out_exactly(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=2), hand()
    last = [one.take(), one.take()][1]
    assert one.claim() is None
    assert revisions.revise(db, job.id, {"trials": 5}).spec["search"]["trials"] == 5
    one.begin(last)
    one.finish(last)
    assert [one.take().ordinal for _ in range(3)] == [2, 3, 4]
    assert one.claim() is None


def test_a_completed_job_goes_on_with_its_further_trials_and_is_confirmed_anew(
    db: Engine, submit: Submit, hand: Hands, storage: RDBStorage, store: Settings
) -> None:
    job, one = submit(trials=2, confirm=CONFIRM), hand()
    one.do_all()
    look = reaper.Reaper(store).look
    look(db, storage)
    before = jobs.get(db, job.id)
    assert before.report is not None
    earlier = runs.of_job(db, job.id, "shortlist") + runs.of_job(db, job.id, "final")

    reopened = revisions.revise(db, job.id, {"trials": 5})
    assert (reopened.state, reopened.stage, reopened.finished) == ("running", "search", None)
    assert reports.current(db, job.id)["verdict"] is None
    assert counts.of(db, [job.id])[job.id]["shortlist"]["asked"] == 0
    kept = runs.of_job(db, job.id, "shortlist:1") + runs.of_job(db, job.id, "final:1")
    assert [run.id for run in kept] == [run.id for run in earlier]

    best = one.take()
    one.begin(best)
    one.finish(best, result=outcome(0.01))
    one.do_all()
    look(db, storage)
    after = jobs.get(db, job.id)
    assert (after.state, after.study_name) == ("completed", before.study_name)
    assert [run.ordinal for run in runs.of_job(db, job.id, "search")] == list(range(5))
    assert Counter(one.trials(job).values()) == {"complete": 5}
    assert after.report is not None
    assert after.report["confirmation"]["winner"]["trial"] == 2, "the best of all five"
    [end] = after.report["job"]["earlier"]
    assert (end["trials"], end["verdict"]) == (2, before.report["verdict"])
    [third] = revisions.revise(db, job.id, {"trials": 6}).earlier[1:]
    assert third["trials"] == 5
    assert runs.of_job(db, job.id, "final:2")
    assert len(runs.of_job(db, job.id, "final:1")) == len([run for run in earlier if run.stage == "final"])


def test_further_trials_have_as_long_as_the_first(db: Engine, submit: Submit, hand: Hands) -> None:
    job, one = submit(trials=1, max_minutes=1.0), hand()
    one.do()
    with db.begin() as connection:
        connection.execute(tables.jobs.update().values(deadline=1.0))
    revisions.revise(db, job.id, {"trials": 2})
    assert one.do().ordinal == 1
    assert jobs.get(db, job.id).state == "completed"


def test_more_trials_asked_while_the_search_was_to_be_concluded_are_not_forgotten(
    db: Engine, submit: Submit, hand: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, one = submit(trials=1), hand()
    claim = one.take()
    one.begin(claim)
    read = reports.read

    def raised_meanwhile(*given: Any) -> Any:
        revisions.revise(db, job.id, {"trials": 2})
        return read(*given)

    monkeypatch.setattr(advance.reports, "read", raised_meanwhile)
    one.finish(claim)
    assert jobs.get(db, job.id).state == "running"
    assert one.take().ordinal == 1


def test_the_first_of_two_steps_keeps_its_length(db: Engine, submit: Submit, hand: Hands, storage: RDBStorage) -> None:
    space = {"kind": "budget", "density": 0.2, "steps": "two"}
    job, one = submit(trials=8, space=space), hand()
    one.do_all()
    names = [set(trial.params) for trial in study.trials(storage, job.study_name)]
    spec = parse(revisions.revise(db, job.id, {"trials": 20}).spec)
    one.do_all()
    after = [set(trial.params) for trial in study.trials(storage, job.study_name)]
    assert len(after) == spec.search.trials == 20
    assert after[:8] == names
    assert all(each == names[7] for each in after[8:]), "the second step goes on"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"name": "other"}, "name", "allowed here: priority, max_parallel, trials"),
        ({"priority": 5000}, "priority", "5000 is not allowed"),
        ({"priority": None}, "priority", "None is not allowed"),
        ({"max_parallel": 0}, "max_parallel", "0 is not allowed"),
        ({"trials": "many"}, "trials", "'many' is not allowed"),
        ({"trials": 10_001}, "trials", "10001 is not allowed"),
    ],
)
def test_what_cannot_be_a_change_is_refused_by_field(changes: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as refused:
        revisions.parsed(changes)
    [fault] = refused.value.faults
    assert (fault["field"], fault["value"]) == (field, next(iter(changes.values())))


def test_trials_only_go_up(db: Engine, submit: Submit) -> None:
    job = submit(trials=4)
    with pytest.raises(InvalidSpec, match="trials: 3 is not allowed; trials only go up, from the 4 asked so far"):
        revisions.revise(db, job.id, {"trials": 3, "priority": 1})
    assert jobs.get(db, job.id) == job, "nothing is changed then"
    assert revisions.revise(db, job.id, {"trials": 4}) == job


def test_a_job_is_changed_only_while_that_means_something(
    db: Engine, submit: Submit, hand: Hands, storage: RDBStorage
) -> None:
    job, one = submit(trials=1, confirm=CONFIRM), hand()
    one.do()
    with pytest.raises(NotNow, match="being confirmed"):
        revisions.revise(db, job.id, {"trials": 2})
    pauses.pause(db, job.id)
    with pytest.raises(NotNow, match="being confirmed"):
        revisions.revise(db, job.id, {"trials": 2})
    assert revisions.revise(db, job.id, {"priority": 3}).priority == 3
    pauses.resume(db, job.id)
    claim = one.take()
    jobs.cancel(db, job.id)
    with pytest.raises(NotNow, match="being stopped"):
        revisions.revise(db, job.id, {"priority": 4})
    one.begin(claim)
    one.finish(claim, "cancelled")
    endings.sweep(db, storage, max_attempts=3)
    with pytest.raises(jobs.JobFinished):
        revisions.revise(db, job.id, {"trials": 2})
    with pytest.raises(jobs.JobNotFound):
        revisions.revise(db, "nobody", {})


def test_the_priority_of_a_completed_job_means_nothing(db: Engine, submit: Submit, hand: Hands) -> None:
    job = submit(trials=1)
    hand().do()
    with pytest.raises(jobs.JobFinished):
        revisions.revise(db, job.id, {"priority": 1})


def test_limits_are_stored_where_claims_read_them(db: Engine, submit: Submit) -> None:
    job = submit(trials=2, max_failed=3)
    revisions.revise(db, job.id, {"trials": 3, "max_parallel": 4})
    columns = tables.jobs.c
    with db.connect() as connection:
        row = connection.execute(select(columns.trials, columns.max_parallel, columns.max_failed)).one()
    assert tuple(row) == (3, 4, 3)
