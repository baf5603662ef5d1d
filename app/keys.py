"""API keys: made, found by what a request shows, revoked. Only their hashes are kept."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from hmac import compare_digest
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, exists, insert, or_, select, update
from sqlalchemy import text as sql

from app import audit, tables
from app.callers import ADMIN, LOCAL, Caller
from app.database import clock, reading

SHAPE = "snas_<8 hex digits>_<64 hex digits>"
USE_NOTED_EVERY = 60.0  # seconds: a key in steady use does not write with each request
_FIRST_LOCK = 0x4B455953  # any constant
_SHAPE = re.compile(r"snas_([0-9a-f]{8})_[0-9a-f]{64}")
_keys = tables.api_keys.c


class KeyNotFound(LookupError):
    """No key has this prefix."""


class KeysExist(Exception):
    """The first key was made before."""


@dataclass(frozen=True)
class Key:
    """What may be shown of a key. Times are UTC seconds; expires None: never; revoked None: in force."""

    prefix: str
    owner: str
    scope: str
    name: str
    created: float
    expires: float | None
    revoked: float | None
    last_used: float | None


def generate() -> str:
    return f"snas_{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def is_key(text: str) -> bool:
    """Whether this text has the shape of a key."""
    return _SHAPE.fullmatch(text) is not None


def digest(secret: str) -> str:
    # Plain SHA-256: what has 256 random bits cannot be guessed, however fast the guesses.
    return hashlib.sha256(secret.encode()).hexdigest()


def exist(db: Engine) -> bool:
    """Whether any key was ever made: from then on every request needs one."""
    with reading(db) as connection:
        return _any(connection)


def create(db: Engine, owner: str, scope: str, name: str, by: Caller, expires: float | None = None) -> tuple[Key, str]:
    """A new key, and its text, which is not to be had again."""
    text = generate()
    with db.begin() as connection:
        key = _add(connection, text, owner, scope, name, by, expires)
    return key, text


def create_first(db: Engine, text: str, owner: str = LOCAL.owner, recover: bool = False) -> None:
    """Makes this text the first key, an administrator's. recover: even where there are keys, which may all be lost.

    Raises: KeysExist
    """
    with db.begin() as connection:
        if connection.dialect.name == "postgresql":  # two servers may start with the same secret; SQLite has one writer
            connection.execute(sql("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_LOCK})
        if not recover and _any(connection):
            raise KeysExist(
                "there are keys already: `snas keys create` makes more, `snas init --recover` replaces one lost"
            )
        _add(connection, text, owner, ADMIN, "recovered" if recover else "first", LOCAL, None)


@contextmanager
def borrowed(db: Engine, scope: str, name: str) -> Iterator[str | None]:
    """A key of our own for as long as we need it, from the state directory's side; None where none is needed."""
    if not exist(db):
        yield None
        return
    key, text = create(db, LOCAL.owner, scope, name, LOCAL)
    try:
        yield text
    finally:
        with db.begin() as connection:
            connection.execute(delete(tables.api_keys).where(_keys.prefix == key.prefix))
            audit.add(connection, LOCAL, "key.removed", key.prefix)


def find(db: Engine, text: str) -> Key | None:
    """The key in force that this text is, if it is one."""
    shaped = _SHAPE.fullmatch(text)
    if shaped is None:
        return None
    with reading(db) as connection:
        row = connection.execute(select(tables.api_keys).where(_keys.prefix == shaped[1])).first()
        now = clock(connection)
    if row is None or not compare_digest(row.sha256, digest(text)) or not in_force(_key(row), now):
        return None
    note_use(db, _key(row), now)
    return _key(row)


def in_force(key: Key, now: float) -> bool:
    return key.revoked is None and (key.expires is None or now < key.expires)


def note_use(db: Engine, key: Key, now: float) -> None:
    if key.last_used is not None and now - key.last_used < USE_NOTED_EVERY:
        return
    unnoted = or_(_keys.last_used.is_(None), _keys.last_used < now)
    with db.begin() as connection:
        connection.execute(update(tables.api_keys).where(_keys.prefix == key.prefix, unnoted).values(last_used=now))


def listed(db: Engine, seen_by: Caller) -> list[Key]:
    """The keys that this caller may see, oldest first: an administrator all, others their own."""
    query = select(*columns()).order_by(_keys.created, _keys.prefix)
    if not seen_by.sees_all:
        query = query.where(_keys.owner == seen_by.owner)
    with reading(db) as connection:
        return [_key(row) for row in connection.execute(query)]


def revoke(db: Engine, prefix: str, by: Caller) -> Key:
    """Ends a key, and the sessions it opened, at once and for good. Twice is no error.

    Raises: KeyNotFound, also where the key is not the caller's to see.
    """
    with db.begin() as connection:
        query = select(*columns()).where(_keys.prefix == prefix).with_for_update()
        row = connection.execute(query).first() if re.fullmatch("[0-9a-f]{8}", prefix) else None
        if row is None or not (by.sees_all or row.owner == by.owner):
            raise KeyNotFound(f"no key has the prefix {prefix!r}")
        if row.revoked is not None:
            return _key(row)
        connection.execute(delete(tables.sessions).where(tables.sessions.c.key_prefix == prefix))
        connection.execute(update(tables.api_keys).where(_keys.prefix == prefix).values(revoked=clock(connection)))
        audit.add(connection, by, "key.revoked", prefix, {"owner": row.owner, "name": row.name})
        return _key(connection.execute(select(*columns()).where(_keys.prefix == prefix)).one())


def columns() -> list[Any]:
    return [_keys[field.name] for field in fields(Key)]


def _any(connection: Connection) -> bool:
    return bool(connection.execute(select(exists().select_from(tables.api_keys))).scalar_one())


def _add(
    connection: Connection, text: str, owner: str, scope: str, name: str, by: Caller, expires: float | None
) -> Key:
    shaped = _SHAPE.fullmatch(text)
    assert shaped is not None, "checked where it was given"
    key = Key(shaped[1], owner, scope, name, clock(connection), expires, None, None)
    connection.execute(insert(tables.api_keys).values(sha256=digest(text), **key.__dict__))
    audit.add(connection, by, "key.created", key.prefix, {"owner": owner, "scope": scope, "name": name})
    return key


def _key(row: Row[Any]) -> Key:
    return Key(**{field.name: getattr(row, field.name) for field in fields(Key)})
