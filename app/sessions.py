"""A browser's login: a key given once is exchanged for a cookie, of which only a hash is kept."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import Engine, delete, insert, select

from app import audit, keys, tables
from app.callers import Caller
from app.database import clock, reading
from app.keys import Key

LASTS = 12 * 3600.0  # seconds
COOKIE = "snas_session"
_sessions = tables.sessions.c


@dataclass(frozen=True)
class Session:
    """key: which the session speaks for; csrf: what a form must bring along, beside the cookie."""

    key: Key
    csrf: str


def begin(db: Engine, key: Key, by: Caller) -> str:
    """The cookie of a new session. Sessions that are over are forgotten."""
    cookie = secrets.token_urlsafe(32)
    with db.begin() as connection:
        now = clock(connection)
        connection.execute(delete(tables.sessions).where(_sessions.expires < now))
        row = {"sha256": keys.digest(cookie), "key_prefix": key.prefix, "created": now, "expires": now + LASTS}
        connection.execute(insert(tables.sessions).values(**row))
        audit.add(connection, by, "login.ok", key.prefix)
    return cookie


def find(db: Engine, cookie: str) -> Session | None:
    """The session of this cookie, while it lasts and its key is in force."""
    here = _sessions.sha256 == keys.digest(cookie)
    with reading(db) as connection:
        now = clock(connection)
        joined = tables.api_keys.join(tables.sessions, _sessions.key_prefix == tables.api_keys.c.prefix)
        row = connection.execute(
            select(*keys.columns()).select_from(joined).where(here, _sessions.expires > now)
        ).first()
    if row is None or not keys.in_force(key := Key(**row._mapping), now):
        return None
    keys.note_use(db, key, now)
    return Session(key, _csrf(cookie))


def end(db: Engine, cookie: str, by: Caller) -> None:
    with db.begin() as connection:
        connection.execute(delete(tables.sessions).where(_sessions.sha256 == keys.digest(cookie)))
        audit.add(connection, by, "logout", by.key)


def _csrf(cookie: str) -> str:
    # Bound to the session, and of no use for finding the cookie.
    return hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()
