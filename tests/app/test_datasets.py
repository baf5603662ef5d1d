"""Uploaded data sets in the jobs database: kept once, whole or not at all, deleted when nothing needs them."""

import hashlib
import io
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from by_hand import problem, spec
from sqlalchemy import Engine, func, select, update

from app import blobs, database, datasets, jobs, queueing, tables
from app.callers import SUBMIT, Caller
from app.datasets import Dataset
from models.data import Upload

TEXT = b"x,label\n1,a\n2,b\n"


def keep(
    db: Engine,
    data: bytes = TEXT,
    name: str = "made",
    owner: str = "ada",
    quota: int | None = None,
    label: str = "label",
) -> tuple[Dataset, bool]:
    sha256 = hashlib.sha256(data).hexdigest()
    return datasets.keep(db, io.BytesIO(data), sha256, len(data), name, Caller(owner, SUBMIT), label, quota)


def chunks(db: Engine) -> int:
    with database.reading(db) as connection:
        return int(connection.execute(select(func.count()).select_from(tables.blob_chunks)).scalar_one())


def age(db: Engine) -> None:
    """As if nothing had been written for long."""
    with db.begin() as connection:
        connection.execute(update(tables.blobs).values(touched=tables.blobs.c.touched - blobs.ABANDONED - 1))


def submit(db: Engine, of: Dataset) -> jobs.Job:
    made = spec()
    data = Upload(kind="upload", name=of.name, id=of.id, sha256=of.sha256, format="csv", label="label")
    return queueing.submit(db, replace(made, data=data), problem(made))[0]


@pytest.mark.parametrize("size", [1, blobs.CHUNK - 1, blobs.CHUNK, blobs.CHUNK + 1, 3 * blobs.CHUNK])
def test_a_file_comes_back_as_it_was_sent(db: Engine, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    kept, new = keep(db, data[:size])
    assert new
    assert b"".join(blobs.read(db, kept.sha256)) == data[:size]
    assert (kept.state, kept.size, chunks(db)) == ("uploaded", size, -(-size // blobs.CHUNK))


def test_the_same_file_under_the_same_name_is_the_same_data_set(db: Engine) -> None:
    first, again = keep(db), keep(db)
    assert again == (first[0], False)


def test_one_file_is_stored_once_under_however_many_names(db: Engine) -> None:
    made = [keep(db, name="one")[0], keep(db, name="two")[0], keep(db, owner="bob")[0]]
    assert len({each.id for each in made}) == 3
    assert chunks(db) == 1
    for left, each in zip((1, 1, 0), made, strict=True):
        datasets.remove(db, each.id)
        assert chunks(db) == left, "the last data set takes the file with it"
    with pytest.raises(blobs.BlobNotFound):
        next(blobs.read(db, made[0].sha256))


def test_another_file_cannot_take_a_name(db: Engine) -> None:
    keep(db)
    with pytest.raises(datasets.NameTaken, match="the name 'made' belongs to another data set"):
        keep(db, TEXT + b"3,a\n")
    with pytest.raises(datasets.NameTaken, match="label 'label'"):
        keep(db, label="x")
    assert chunks(db) == 1
    assert keep(db, TEXT + b"3,a\n", owner="bob")[1], "names are each owner's own"


@pytest.mark.parametrize("written", [1, 2])
def test_an_upload_cut_short_leaves_nothing(db: Engine, written: int) -> None:
    data = bytes(3 * blobs.CHUNK)
    sha256 = hashlib.sha256(data).hexdigest()
    cut = io.BytesIO(data)
    reads = iter([data[: blobs.CHUNK]] * written)
    cut.read = lambda *_: next(reads)  # type: ignore[method-assign]
    with pytest.raises(StopIteration):
        blobs.write(db, cut, sha256, len(data))
    assert chunks(db) == written
    blobs.clean_up(db)
    assert chunks(db) == written, "it may still go on"
    with pytest.raises(blobs.BlobNotFound):
        next(blobs.read(db, sha256))
    age(db)
    blobs.clean_up(db)
    assert chunks(db) == 0


def test_an_upload_goes_on_where_another_was_cut_short_and_survives_the_clean_up(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(2 * blobs.CHUNK) + b"end"
    write, left = blobs.write, [True]

    def swept(*given: Any) -> None:
        write(*given)
        if left:
            left.pop()
            age(db)
            blobs.clean_up(db)  # between the last chunk and the completion

    monkeypatch.setattr(blobs, "write", swept)
    kept, _ = keep(db, data)
    assert b"".join(blobs.read(db, kept.sha256)) == data


def test_what_a_data_set_has_is_never_cleaned_up(db: Engine) -> None:
    kept, _ = keep(db)
    age(db)
    blobs.clean_up(db)
    assert b"".join(blobs.read(db, kept.sha256)) == TEXT


def at_once(*what: Callable[[], Any]) -> list[Any]:
    found: list[Any] = [None] * len(what)
    barrier = threading.Barrier(len(what))

    def one(number: int) -> None:
        barrier.wait()
        try:
            found[number] = what[number]()
        except (ValueError, LookupError) as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(what))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_who_upload_one_file_at_once_keep_it_once(db: Engine) -> None:
    data = bytes(2 * blobs.CHUNK)
    found = at_once(*[lambda: keep(db, data)] * 4)
    assert len({kept.id for kept, _ in found}) == 1
    assert sorted(new for _, new in found) == [False, False, False, True]
    assert chunks(db) == 2


def test_uploads_and_deletions_of_one_file_at_once_leave_it_whole_or_gone(db: Engine) -> None:
    data = bytes(blobs.CHUNK + 1)
    for round_ in range(5):
        first, _ = keep(db, data, name=f"first{round_}")
        _, (second, _) = at_once(
            lambda first=first: datasets.remove(db, first.id),
            lambda round_=round_: keep(db, data, name=f"second{round_}"),
        )
        assert b"".join(blobs.read(db, second.sha256)) == data
        datasets.remove(db, second.id)
        assert chunks(db) == 0


def test_an_owners_bytes_are_bounded_with_the_numbers_even_at_once(db: Engine) -> None:
    size = len(TEXT)
    keep(db, owner="bob")
    found = at_once(*[lambda n=n: keep(db, TEXT[:-2] + b"%d\n" % n, f"n{n}", quota=2 * size) for n in range(4)])
    refused = [each for each in found if isinstance(each, datasets.StorageFull)]
    assert len(refused) == 2
    assert f"{size:,} bytes are too many: your data sets have" in str(refused[0])
    with database.reading(db) as connection:
        assert datasets.stored_bytes(connection, "ada") == 2 * size
        assert datasets.stored_bytes(connection, "nobody") == 0


def test_a_data_set_is_not_deleted_under_an_unfinished_job(db: Engine) -> None:
    kept, _ = keep(db)
    other, _ = keep(db, name="other")
    job = submit(db, kept)
    with pytest.raises(datasets.DatasetInUse, match=f"the job '{job.id}' trains on the data set 'made'"):
        datasets.remove(db, kept.id)
    datasets.remove(db, other.id)
    jobs.cancel(db, job.id)
    datasets.remove(db, kept.id)
    assert jobs.get(db, job.id).spec["data"]["sha256"] == kept.sha256, "a job that ended keeps its hash"


def test_a_job_is_not_queued_on_a_data_set_that_was_just_deleted(db: Engine) -> None:
    for _ in range(5):
        kept, _ = keep(db)
        job, removed = at_once(lambda kept=kept: submit(db, kept), lambda kept=kept: datasets.remove(db, kept.id))
        if isinstance(job, jobs.Job):
            assert isinstance(removed, datasets.DatasetInUse)
            jobs.cancel(db, job.id)
            datasets.remove(db, kept.id)
        else:
            assert isinstance(job, queueing.DatasetGone)
            assert removed is None


def test_a_list_shows_one_owners_newest_first_page_by_page(db: Engine) -> None:
    mine = [keep(db, name=f"n{n}")[0].name for n in range(5)]
    keep(db, owner="bob")
    seen, cursor = [], None
    while True:
        found, cursor = datasets.page(db, 2, cursor, "ada")
        seen += [each.name for each in found]
        if cursor is None:
            break
    assert seen == mine[::-1]
    assert len(datasets.page(db, 20)[0]) == 6


def test_what_is_not_there_is_not_found(db: Engine) -> None:
    for ask in (
        lambda: datasets.get(db, "0" * 32),
        lambda: datasets.remove(db, "0" * 32),
        lambda: datasets.named(db, "bob", "made"),
    ):
        keep(db)
        with pytest.raises(datasets.DatasetNotFound):
            ask()
