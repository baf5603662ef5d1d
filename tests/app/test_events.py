from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from app import events
from app.jobs import Job

Submit = Callable[..., Job]


def test_events_are_read_in_order_after_the_last_one_seen(db: Engine, submit: Submit) -> None:
    job, other = submit(), submit()
    with db.begin() as connection:
        for number in range(4):
            events.add(connection, job.id, "run.epoch", {"epoch": number})
    everything = events.after(db, 0)
    assert [event.seq for event in everything] == sorted(event.seq for event in everything)
    mine = events.after(db, everything[0].seq, job.id)
    assert [event.data for event in mine] == [{"epoch": number} for number in range(4)]
    assert events.after(db, mine[1].seq, job.id, limit=1) == mine[2:3]
    assert [event.type for event in events.after(db, 0, other.id)] == ["job.submitted"]
    assert events.newest(db) == everything[-1].seq
    assert events.after(db, events.newest(db)) == []


def test_there_is_no_newest_event_before_the_first(db: Engine) -> None:
    assert events.newest(db) == 0


def test_an_event_is_undone_with_the_change_it_tells(db: Engine, submit: Submit) -> None:
    job = submit()
    seen = events.newest(db)
    with db.begin() as connection:
        events.add(connection, job.id, "run.epoch", {})
        connection.rollback()
    assert events.after(db, seen) == []


def test_no_event_appears_before_one_that_was_given_an_earlier_number(db: Engine, submit: Submit) -> None:
    job = submit()
    with db.begin() as first:
        events.add(first, job.id, "run.epoch", {"epoch": 1})
        with db.connect() as second:
            _be_impatient(second)
            with pytest.raises(OperationalError, match="lock"):
                events.add(second, job.id, "run.epoch", {"epoch": 2})
            second.rollback()
            second.invalidate()
    assert [event.data.get("epoch") for event in events.after(db, 0)] == [None, 1]


def _be_impatient(connection: object) -> None:
    if connection.dialect.name == "sqlite":
        connection.connection.dbapi_connection.execute("PRAGMA busy_timeout=1")
    else:
        connection.execute(text("SET lock_timeout = '10ms'"))
