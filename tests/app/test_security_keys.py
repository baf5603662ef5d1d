"""Keys, sessions and quotas in the database: SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import problem, spec
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from app import audit, jobs, keys, queueing, sessions, tables
from app.callers import ADMIN, LOCAL, READ, SUBMIT, Caller
from app.database import now, reading
from app.quotas import QuotaExceeded, Quotas
from app.rates import Rate

ADA = Caller("ada", SUBMIT)


def make(db: Engine, **given: Any) -> tuple[keys.Key, str]:
    return keys.create(db, **{"owner": "ada", "scope": SUBMIT, "name": "test", "by": LOCAL, **given})


def everything_in(db: Engine) -> str:
    with reading(db) as connection:
        return "\n".join(
            str(row) for table in tables.metadata.sorted_tables for row in connection.execute(table.select())
        )


def test_a_key_is_found_by_its_text_alone_and_its_text_is_kept_nowhere(db: Engine) -> None:
    key, text = make(db)
    found = keys.find(db, text)
    assert found is not None
    assert (found.prefix, found.owner, found.scope) == (key.prefix, "ada", SUBMIT)
    assert text.split("_")[2] not in everything_in(db)
    assert [each.last_used is not None for each in keys.listed(db, LOCAL)] == [True]


def test_nothing_but_the_whole_key_is_one(db: Engine) -> None:
    _, text = make(db)
    last = "0" if text[-1] != "0" else "1"
    for other in (text[:-1], text[:-1] + last, text.upper(), text + "\n", text[:14], "", "\0", "snas__", "ä" * 78):
        assert keys.find(db, other) is None, other


def test_a_revoked_key_is_none_and_neither_is_one_that_expired(db: Engine) -> None:
    key, text = make(db)
    assert keys.revoke(db, key.prefix, LOCAL).revoked is not None
    assert keys.find(db, text) is None
    assert keys.revoke(db, key.prefix, LOCAL).revoked is not None, "twice is no error"
    assert keys.find(db, make(db, expires=now(db) - 1)[1]) is None
    assert keys.find(db, make(db, expires=now(db) + 3600)[1]) is not None


def test_owners_see_and_revoke_their_own_keys_and_administrators_all(db: Engine) -> None:
    hers, _ = make(db)
    theirs, _ = make(db, owner="bob")
    assert [key.prefix for key in keys.listed(db, ADA)] == [hers.prefix]
    assert len(keys.listed(db, LOCAL)) == 2
    for prefix in (theirs.prefix, "00000000", "\0", "' OR 1=1"):
        with pytest.raises(keys.KeyNotFound) as refused:
            keys.revoke(db, prefix, ADA)
        assert str(refused.value) == f"no key has the prefix {prefix!r}"
    keys.revoke(db, hers.prefix, ADA)


def test_there_is_one_first_key_however_many_processes_make_it(db: Engine) -> None:
    def first(_: int) -> bool:
        try:
            keys.create_first(db, keys.generate())
        except keys.KeysExist:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(first, range(4))) == [False, False, False, True]
    keys.create_first(db, keys.generate(), recover=True)
    assert [key.scope for key in keys.listed(db, LOCAL)] == [ADMIN, ADMIN]


def test_a_borrowed_key_lasts_as_long_as_it_is_needed_and_only_where_one_is(db: Engine) -> None:
    with keys.borrowed(db, SUBMIT, "run") as text:
        assert text is None, "an open server stays open"
    make(db)
    with keys.borrowed(db, SUBMIT, "run") as text:
        assert text is not None
        found = keys.find(db, text)
        assert found is not None
        assert (found.owner, found.scope) == ("local", SUBMIT)
    assert keys.find(db, text) is None
    assert len(keys.listed(db, LOCAL)) == 1


def test_a_session_lasts_as_long_as_its_key_and_its_time(db: Engine) -> None:
    key, _ = make(db)
    cookie, other = sessions.begin(db, key, ADA), sessions.begin(db, key, ADA)
    found = sessions.find(db, cookie)
    assert found is not None
    assert found.key.owner == "ada"
    assert cookie not in everything_in(db)
    again = sessions.find(db, other)
    assert again is not None
    assert again.csrf != found.csrf, "a token is of one session"
    sessions.end(db, other, ADA)
    assert sessions.find(db, other) is None
    assert sessions.find(db, cookie) is not None
    keys.revoke(db, key.prefix, LOCAL)
    assert sessions.find(db, cookie) is None

    key, _ = make(db)
    cookie = sessions.begin(db, key, ADA)
    with db.begin() as connection:
        connection.execute(update(tables.sessions).values(expires=now(db) - 1))
    assert sessions.find(db, cookie) is None


def test_what_is_done_is_in_the_log_in_order_with_who_did_it(db: Engine) -> None:
    by = Caller("ada", SUBMIT, "00000000", "192.0.2.7")
    job, _ = queueing.submit(db, spec(name="hers"), problem(spec()), by)
    jobs.share(db, job.id, True, by)
    jobs.share(db, job.id, True, by)  # it is: nothing is done
    jobs.cancel(db, job.id, LOCAL)
    entries, more = audit.page(db)
    assert [(entry.owner, entry.action, entry.target) for entry in entries] == [
        ("local", "job.cancelled", job.id),
        ("ada", "job.shared", job.id),
        ("ada", "job.submitted", job.id),
    ]
    assert (entries[2].key_prefix, entries[2].address, entries[2].detail) == ("00000000", "192.0.2.7", {"name": "hers"})
    assert more is None
    first, more = audit.page(db, limit=2)
    assert first == entries[:2]
    assert audit.page(db, limit=2, before=more) == (entries[2:], None)


def test_an_act_that_fails_is_not_in_the_log(db: Engine) -> None:
    with pytest.raises(QuotaExceeded):
        queueing.submit(db, spec(), problem(spec()), ADA, allowed=Quotas(jobs=0))
    job, _ = queueing.submit(db, spec(), problem(spec()), ADA)
    jobs.cancel(db, job.id)
    with pytest.raises(jobs.JobFinished):
        jobs.cancel(db, job.id)
    assert len(audit.page(db)[0]) == 2


@pytest.mark.parametrize(
    ("allowed", "what"),
    [(Quotas(jobs=3), "unfinished jobs"), (Quotas(trials=13), "trials asked of unfinished jobs")],
    ids=["jobs", "trials"],
)
def test_a_quota_is_exact_however_many_submit_at_once(db: Engine, allowed: Quotas, what: str) -> None:
    asked, found = spec(), problem(spec())  # of 4 trials

    def submit(number: int) -> str | None:
        owner = Caller("ada" if number % 2 else "bob", SUBMIT)
        try:
            queueing.submit(db, asked, found, owner, allowed=allowed)
        except QuotaExceeded as refused:
            return str(refused)
        return None

    with ThreadPoolExecutor(4) as pool:
        refusals = list(pool.map(submit, range(12)))
    for owner in ("ada", "bob"):
        assert len(jobs.page(db, owner=owner)[0]) == 3
    assert len([each for each in refusals if each is None]) == 6
    assert all(each is None or each.startswith(what) for each in refusals)


def test_an_ended_job_makes_room_and_a_repeated_request_needs_none(db: Engine) -> None:
    one = Quotas(jobs=1)

    def send(key: str) -> tuple[jobs.Job, bool]:
        return queueing.submit(db, spec(), problem(spec()), ADA, key, "body", one)

    job, _ = send("first")
    assert send("first") == (job, False)
    with pytest.raises(QuotaExceeded, match="'ada' has 1, this would add 1; allowed are 1"):
        send("second")
    jobs.cancel(db, job.id)
    assert send("second")[1]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30)), max_size=60), st.integers(1, 20))
def test_no_one_gets_more_than_a_bucket_and_what_refills(asked: list[tuple[str, float]], per_minute: int) -> None:
    at = 0.0
    rate = Rate(per_minute, clock=lambda: at)
    allowed = {"a": 0, "b": 0}
    for name, pause in asked:
        at += pause
        wait = rate.take(name)
        allowed[name] += not wait
        assert 0 <= wait <= 60 / per_minute
    for count in allowed.values():
        assert count <= per_minute + at * per_minute / 60 + 1e-9


def test_the_buckets_of_many_addresses_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.rates.MOST_NAMES", 10)
    rate = Rate(1, clock=lambda: 0.0)
    for number in range(1000):
        rate.take(str(number))
    assert len(rate._buckets) <= 11


def test_lists_hold_what_the_caller_may_see(db: Engine) -> None:
    hers, _ = queueing.submit(db, spec(name="hers"), problem(spec()), ADA)
    queueing.submit(db, spec(name="his"), problem(spec()), Caller("bob", SUBMIT))

    def names(seen_by: Caller, owner: str | None = None) -> list[str]:
        return [job.name for job in jobs.page(db, owner=owner, seen_by=seen_by)[0]]

    assert names(ADA) == ["hers"]
    assert names(Caller("bob", SUBMIT)) == ["his"]
    assert names(LOCAL) == ["his", "hers"]
    assert names(LOCAL, "ada") == ["hers"]
    assert names(Caller("bob", SUBMIT), "ada") == []
    jobs.share(db, hers.id, True)
    assert names(Caller("bob", READ)) == ["his", "hers"]
    assert names(Caller("bob", READ), "ada") == ["hers"]
    jobs.share(db, hers.id, False)
    assert names(Caller("bob", SUBMIT)) == ["his"]
