"""Whether every trial of a job was done exactly once, read from both databases."""

from collections import Counter

from sqlalchemy import Engine, select

from app import database, events, jobs, runs, tables
from app.settings import Settings


def check(settings: Settings, job_id: str) -> dict[str, int]:
    """Asserts that none is lost, none doubled, none left open; how many runs ended in which state, lost ones too."""
    db, storage = database.engine(settings), database.optuna_storage(settings, read_only=True)
    job, rows, curves = jobs.get(db, job_id), runs.of_job(db, job_id), runs.curves(db, job_id)
    told = [event for event in events.after(db, 0, job_id, limit=1_000_000) if event.type == "run.finished"]
    trials = storage.get_all_trials(storage.get_study_id_from_name(job.study_name))
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()

    assert (job.state, job.error) == ("completed", None), f"{job.state}: {job.error}"
    search = [row for row in rows if row.stage == "search"]
    assert [row.ordinal for row in search] == list(range(job.trials)), "one row per slot"
    assert {row.state for row in rows} == {"complete"}
    assert sorted((trial.number, trial.state.name) for trial in trials) == [
        (number, "COMPLETE") for number in range(job.trials)
    ], "Optuna has as many trials as were asked for, and none is running"
    assert {row.number: row.ordinal for row in search} == {
        trial.number: trial.user_attrs["ordinal"] for trial in trials
    }
    epochs = list(range(1, job.spec["training"]["epochs"] + 1))
    assert {row.id: [epoch["epoch"] for epoch in curves[row.id]] for row in rows} == {row.id: epochs for row in rows}
    assert not any(row.lease_until for row in rows), "nobody holds a run"
    ends = Counter(event.data["run"] for event in told if event.data["state"] != "lost")
    assert ends == {row.id: 1 for row in rows}
    return dict(Counter(event.data["state"] for event in told))


def check_cancelled(settings: Settings, job_id: str) -> None:
    """Asserts that nothing of a cancelled job is open: no run, and no trial that Optuna calls running."""
    db, storage = database.engine(settings), database.optuna_storage(settings, read_only=True)
    job, rows = jobs.get(db, job_id), runs.of_job(db, job_id)
    trials = storage.get_all_trials(storage.get_study_id_from_name(job.study_name))
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
    assert (job.state, job.error) == ("cancelled", None)
    assert not {row.state for row in rows} & set(runs.OPEN)
    assert not [trial.number for trial in trials if not trial.state.is_finished()]


def at_work(db: Engine, *states: str) -> list[int]:
    """The processes of the workers that hold a run, of those in one of these states."""
    query = select(tables.workers.c.pid).join(tables.runs, tables.runs.c.worker_id == tables.workers.c.id)
    with database.reading(db) as connection:
        return list(connection.execute(query.where(tables.runs.c.state.in_(states or runs.LEASED))).scalars())
