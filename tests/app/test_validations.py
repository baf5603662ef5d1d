"""Uploaded data sets are read by workers, each in a process that may die of it."""

import hashlib
import io
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, update
from sqlalchemy.exc import OperationalError

from app import blobs, database, datasets, inspection, outages, tables, uploads, validations
from app.callers import SUBMIT, Caller
from app.datasets import Dataset
from app.fences import Fenced
from app.settings import Settings
from app.trainer import Trainer
from app.validations import Validation
from app.worker import Supervisor
from models.data import formats

TEXT = b"x,label\n1,a\n2,b\n3,a\n"
LEASE = 60.0
LARGEST = 2**20


def keep(db: Engine, data: bytes = TEXT, name: str = "made") -> Dataset:
    sha256 = hashlib.sha256(data).hexdigest()
    return datasets.keep(db, io.BytesIO(data), sha256, len(data), name, Caller("ada", SUBMIT), "label", None)[0]


def take(db: Engine, worker: str = "one", at: float | None = None) -> Validation:
    held = validations.claim(db, worker, database.now(db) if at is None else at, LEASE)
    assert held is not None
    return held


@pytest.fixture
def small(store: Settings) -> Settings:
    return store.model_copy(update={"largest_dataset": LARGEST, "lease_seconds": LEASE})


@pytest.fixture
def worker(small: Settings, db: Engine) -> Iterator[Supervisor]:
    db.dispose()  # no connection may be open where a trainer is forked
    made = Supervisor(small, lambda: Trainer(None))
    yield made
    made.stop()
    made.work()


def test_each_is_handed_out_once_the_oldest_first(db: Engine) -> None:
    made = [keep(db, name=f"n{n}").id for n in range(3)]
    assert [take(db).dataset_id for _ in made] == made
    assert validations.claim(db, "two", database.now(db), LEASE) is None


WRITES: dict[str, Callable[[Engine, Validation], None]] = {
    "renew": lambda db, held: validations.renew(db, held, database.now(db), LEASE),
    "accept": lambda db, held: validations.accept(db, held, "csv", {}),
    "refuse": lambda db, held: validations.refuse(db, held, "no"),
    "release": validations.release,
    "crash": lambda db, held: validations.crash(db, held, "by SIGKILL", 3),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_worker_that_was_thought_dead_changes_nothing(db: Engine, write: str) -> None:
    kept = keep(db)
    zombie = take(db, at=0.0)
    validations.sweep(db, database.now(db), 3)
    second = take(db, "two")
    with pytest.raises(Fenced):
        WRITES[write](db, zombie)
    assert datasets.get(db, kept.id).state == "validating"
    validations.accept(db, second, "csv", {"samples": 3})
    for each in (zombie, second):
        with pytest.raises(Fenced):
            WRITES[write](db, each)
    assert datasets.get(db, kept.id).preview == {"samples": 3}


def test_a_deleted_data_set_fences_whoever_reads_it(db: Engine) -> None:
    kept = keep(db)
    held = take(db)
    datasets.remove(db, kept.id)
    with pytest.raises(Fenced):
        validations.accept(db, held, "csv", {})


@pytest.mark.parametrize("how", ["silence", "crash"])
def test_what_keeps_killing_its_readers_is_refused_after_as_many_attempts_as_allowed(db: Engine, how: str) -> None:
    kept = keep(db)
    for attempt in (1, 2):
        held = take(db, at=0.0)
        assert held.attempt == attempt
        assert datasets.get(db, kept.id).state == "validating"
        if how == "crash":
            validations.crash(db, held, "by SIGKILL", max_attempts=2)
        else:
            validations.sweep(db, database.now(db), max_attempts=2)
    refused = datasets.get(db, kept.id)
    assert refused.state == "refused"
    assert str(refused.error).startswith("it killed the process that read it: ")
    assert str(refused.error).endswith("(attempt 2 of 2)")


def test_given_back_it_has_lost_no_attempt(db: Engine) -> None:
    keep(db)
    validations.release(db, take(db))
    assert take(db).attempt == 1


def test_a_lease_that_holds_is_left_alone(db: Engine) -> None:
    kept = keep(db)
    held = take(db, at=0.0)
    validations.renew(db, held, database.now(db), LEASE)
    validations.sweep(db, database.now(db), 1)
    assert datasets.get(db, kept.id).state == "validating"


def test_a_worker_reads_it_and_keeps_what_it_saw(db: Engine, worker: Supervisor) -> None:
    kept = keep(db)
    assert worker._attend_next()
    read = datasets.get(db, kept.id)
    assert (read.state, read.format, read.error) == ("ready", "csv", None)
    assert read.preview is not None
    assert (read.preview["samples"], read.preview["labels"], read.preview["counts"]) == (3, ["a", "b"], [2, 1])
    assert not worker._attend_next()


@pytest.mark.parametrize("text", [TEXT, b"x,label\n"], ids=["accepted", "refused"])
def test_whatever_the_database_does_not_answer_is_asked_again(
    db: Engine, worker: Supervisor, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    """Of the transactions, the first fails as it begins, then the second, then the third, ..."""
    monkeypatch.setattr(outages, "PAUSE", 0.01)
    begun: list[int] = []
    fails_at = 0

    @event.listens_for(worker._db, "begin")
    def _begin(_connection: Any) -> None:
        begun.append(1)
        if len(begun) == fails_at:
            raise OperationalError("SELECT 1", None, sqlite3.OperationalError("the database is shutting down"))

    while len(begun) >= fails_at:
        fails_at += 1
        begun.clear()
        kept = keep(db, text, f"number {fails_at}")
        while worker._attend_next():
            pass
        assert datasets.get(db, kept.id).state == ("ready" if text == TEXT else "refused")
        with database.reading(db) as connection:
            assert connection.execute(select(tables.datasets.c.attempt).distinct()).scalars().all() == [1]
    assert fails_at >= 6
    event.remove(worker._db, "begin", _begin)


def test_one_with_harmful_files_refuses_each_and_goes_on(db: Engine, worker: Supervisor, small: Settings) -> None:
    harmful = {
        "pickle": b"\x80\x04\x95",
        "table": b"x,label\n" + b"1,2\n" * 140_000,
        "labels": b"x,label\n1,\x00\x1b[31m\n2,2\n3,\x00\n",
        "nothing": b"\n",
    }
    made = {name: keep(db, data, name) for name, data in harmful.items()}
    fine = keep(db)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while worker._attend_next():
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    errors = {name: datasets.get(db, each.id).error for name, each in made.items()}
    assert "which is never loaded" in str(errors["pickle"])
    assert "more than 131,072 values" in str(errors["table"])
    assert "data.label: 'label' must name one column" in str(errors["nothing"])
    assert datasets.get(db, made["labels"].id).state in ("ready", "refused"), "whatever is in it can be stored"
    assert datasets.get(db, fine.id).state == "ready"


def instead(monkeypatch: pytest.MonkeyPatch, what: Callable[..., Any]) -> None:
    """What the process does that should read: it is forked from this one."""
    monkeypatch.setattr(formats, "read", what)


def test_a_file_that_kills_its_reader_is_tried_again_and_then_refused(
    db: Engine, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    kept = keep(db)
    seen = []
    while worker._attend_next():
        seen.append(datasets.get(db, kept.id).state)
    assert seen == ["uploaded", "uploaded", "refused"]
    error = "it killed the process that read it: it ended by SIGKILL (attempt 3 of 3)"
    assert datasets.get(db, kept.id).error == error


def test_memory_that_a_file_makes_its_reader_take_is_bounded(
    db: Engine, worker: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, lambda *_: bytearray(4 * (inspection.COPIES * LARGEST + inspection.BESIDE)))
    kept = keep(db)
    assert worker._attend_next()
    refused = datasets.get(db, kept.id)
    assert (refused.state, refused.error) == (
        "refused",
        "made: reading it takes more memory than a data set of 1,048,576 bytes needs",
    )


def test_a_worker_told_to_end_gives_it_back(db: Engine, worker: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, lambda *_: time.sleep(3600))
    kept = keep(db)
    worker.stop()
    worker._attend_next()
    assert datasets.get(db, kept.id).state == "uploaded"
    assert take(db).attempt == 1


def test_its_lease_is_renewed_while_it_is_read(
    db: Engine, small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed, renew, read = tmp_path / "renewed", validations.renew, formats.read

    def reads_until_renewed(*given: Any) -> Any:
        while not renewed.exists():
            time.sleep(0.01)
        return read(*given)

    def renews(*given: Any) -> None:
        renew(*given)
        renewed.touch()

    instead(monkeypatch, reads_until_renewed)
    monkeypatch.setattr(validations, "renew", renews)
    db.dispose()
    made = Supervisor(small.model_copy(update={"lease_seconds": 3.0}), lambda: Trainer(None))
    kept = keep(db)
    assert made._attend_next()
    assert datasets.get(db, kept.id).state == "ready"
    made.stop()
    made.work()


def test_a_host_has_its_own_copy_made_once(db: Engine, small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(db)
    path = uploads.fetch(db, small.state_dir, kept.sha256)
    assert path.read_bytes() == TEXT
    assert path.parent == uploads.folder(small.state_dir)
    monkeypatch.setattr(blobs, "read", None)
    assert uploads.fetch(db, small.state_dir, kept.sha256) == path


def test_a_damaged_copy_is_made_anew(db: Engine, small: Settings) -> None:
    kept = keep(db)
    path = uploads.fetch(db, small.state_dir, kept.sha256)
    path.write_bytes(TEXT.replace(b"1", b"9"))
    assert uploads.fetch(db, small.state_dir, kept.sha256).read_bytes() == TEXT


def test_what_is_damaged_in_the_database_is_never_given_out(db: Engine, small: Settings) -> None:
    kept = keep(db)
    with db.begin() as connection:
        connection.execute(update(tables.blob_chunks).values(data=TEXT.replace(b"1", b"9")))
    with pytest.raises(uploads.Damaged, match=f"with the sha256 {kept.sha256} is damaged"):
        uploads.fetch(db, small.state_dir, kept.sha256)
    assert list(uploads.folder(small.state_dir).iterdir()) == []


def test_copies_of_what_was_deleted_and_old_drafts_go_with_the_next_that_is_made(db: Engine, small: Settings) -> None:
    gone = keep(db)
    uploads.fetch(db, small.state_dir, gone.sha256)
    here = uploads.folder(small.state_dir)
    for name, age in (("old", uploads.LEFT_AFTER + 1), ("new", 0)):
        (here / f"{gone.sha256}.{name}").touch()
        os.utime(here / f"{gone.sha256}.{name}", times=(time.time() - age,) * 2)
    datasets.remove(db, gone.id)
    other = keep(db, TEXT + b"4,b\n")
    uploads.fetch(db, small.state_dir, other.sha256)
    assert {each.name for each in here.iterdir()} == {other.sha256, f"{gone.sha256}.new"}
    with pytest.raises(blobs.BlobNotFound):
        uploads.fetch(db, small.state_dir, gone.sha256)
