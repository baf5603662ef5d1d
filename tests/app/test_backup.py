"""Both databases copied while they are written to, destroyed, and put back."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import Hand
from optuna.storages import RDBStorage
from sqlalchemy import Engine, create_engine, text
from trained import TINY, begin_one, train_all

from app import backup, database, events, jobs, queueing, runs
from app.settings import Settings
from search.problem import examine
from search.spec import parse


@pytest.fixture
def elsewhere(store: Settings, tmp_path: Path) -> Iterator[Settings]:
    """An empty state of the same kind."""
    if store.database_url is None:
        yield Settings(state_dir=tmp_path / "elsewhere")
        return
    server = create_engine(store.database_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE elsewhere"))
    url = server.url.set(database="elsewhere").render_as_string(hide_password=False)
    yield Settings(state_dir=tmp_path / "elsewhere", database_url=url)
    with server.connect() as connection:
        connection.execute(text("DROP DATABASE elsewhere WITH (FORCE)"))
    server.dispose()


def contents(settings: Settings) -> list[object]:
    """All that a user can read of every job, and all that Optuna knows."""
    db, storage = database.engine(settings), database.optuna_storage(settings, read_only=True)
    found: list[object] = []
    for job in jobs.page(db, limit=100)[0]:
        found += [jobs.get(db, job.id), runs.of_job(db, job.id), runs.curves(db, job.id), events.after(db, 0, job.id)]
        if job.optuna_study_id is not None:
            found += storage.get_all_trials(storage.get_study_id_from_name(job.study_name))
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()
    return found


def test_what_was_destroyed_is_restored_equal_and_goes_on(
    store: Settings, elsewhere: Settings, db: Engine, storage: RDBStorage, tmp_path: Path
) -> None:
    asked = parse(TINY)
    queueing.submit(db, asked, examine(asked, None))
    train_all(Hand(db, storage, "one"))
    middle = queueing.submit(db, asked, examine(asked, None))[0]
    begin_one(Hand(db, storage, "two"))
    before = contents(store)
    made = backup.backup(store, tmp_path / "copy")
    assert (made.jobs, made.trials) == (2, 6)

    restored = backup.restore(elsewhere, tmp_path / "copy")
    assert restored == made
    assert contents(elsewhere) == before

    # The next event and the next trial get numbers that were never given.
    theirs, trials = database.engine(elsewhere), database.optuna_storage(elsewhere)
    hand = Hand(theirs, trials, "three")
    hand.do()
    assert [event.seq for event in events.after(theirs, 0)] == sorted({event.seq for event in events.after(theirs, 0)})
    assert hand.trials(jobs.get(theirs, middle.id)) == {0: "running", 1: "complete"}
    trials.remove_session()
    trials.engine.dispose()
    theirs.dispose()


def test_a_copy_made_while_workers_write_is_consistent(
    store: Settings, elsewhere: Settings, submit: Callable[..., jobs.Job], hand: Callable[[str], Hand], tmp_path: Path
) -> None:
    job = submit(trials=60)
    worker = threading.Thread(target=lambda: hand("busy").do_all())
    worker.start()
    made = [backup.backup(store, tmp_path / f"copy-{number}") for number in range(5)]
    worker.join()
    assert [each.trials for each in made] == sorted(each.trials for each in made)
    for number, each in enumerate(made[:1] if store.database_url else made):
        into = elsewhere if store.database_url else numbered(elsewhere, number)
        backup.restore(into, tmp_path / f"copy-{number}")
        db, storage = database.engine(into), database.optuna_storage(into, read_only=True)
        told = {run.number for run in runs.of_job(db, job.id) if run.state == "complete"}
        known = storage.get_all_trials(1) if each.trials else []
        done = {trial.number for trial in known if trial.state.name == "COMPLETE"}
        assert told <= done, "what our rows say was told, Optuna knows"
        storage.remove_session()
        storage.engine.dispose()
        db.dispose()


def numbered(settings: Settings, number: int) -> Settings:
    return Settings(state_dir=settings.state_dir.with_name(f"elsewhere-{number}"))


def test_a_copy_of_sqlite_is_two_sound_files(sqlite: Settings, tmp_path: Path) -> None:
    backup.backup(sqlite, tmp_path / "copy")
    assert sorted(file.name for file in (tmp_path / "copy").iterdir()) == ["app.db", "manifest.json", "optuna.db"]
    for name in ("app.db", "optuna.db"):
        connection = sqlite3.connect(tmp_path / "copy" / name)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


class TestRefusals:
    @pytest.fixture
    def copy(self, store: Settings, submit: Callable[..., jobs.Job], tmp_path: Path) -> Path:
        submit()
        backup.backup(store, tmp_path / "copy")
        return tmp_path / "copy"

    def test_a_copy_never_replaces_another(self, store: Settings, copy: Path) -> None:
        with pytest.raises(backup.CannotBackUp, match="exists already"):
            backup.backup(store, copy)

    def test_there_must_be_something_to_copy(self, tmp_path: Path) -> None:
        with pytest.raises(backup.CannotBackUp, match="holds no databases"):
            backup.backup(Settings(state_dir=tmp_path / "none"), tmp_path / "copy")

    def test_a_state_in_use_is_not_overwritten(self, store: Settings, copy: Path) -> None:
        with pytest.raises(backup.CannotRestore, match="holds"):
            backup.restore(store, copy)
        assert len(contents(store)) > 0

    def test_a_directory_without_manifest_is_no_backup(self, elsewhere: Settings, copy: Path) -> None:
        (copy / backup.MANIFEST).unlink()
        with pytest.raises(backup.CannotRestore, match="is no backup"):
            backup.restore(elsewhere, copy)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [({"revision": "9999"}, "made by a newer snas"), ({"kind": "oracle"}, "is a backup of oracle")],
    )
    def test_a_backup_of_another_kind_or_of_a_newer_version_is_refused(
        self, elsewhere: Settings, copy: Path, change: dict[str, str], reason: str
    ) -> None:
        manifest = copy / backup.MANIFEST
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
        with pytest.raises(backup.CannotRestore, match=reason):
            backup.restore(elsewhere, copy)

    def test_a_backup_that_was_killed_leaves_none(self, store: Settings, tmp_path: Path, copy: Path) -> None:
        (copy.with_name("other.partial")).mkdir()
        (copy.with_name("other.partial") / "rest").write_text("half")
        backup.backup(store, tmp_path / "other")
        assert not (tmp_path / "other.partial").exists()
        assert not (tmp_path / "other" / "rest").exists()
