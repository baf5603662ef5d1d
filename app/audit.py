"""Who did what, and who was turned away: written in the transaction of the act where there is one, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, insert, select

from app import tables
from app.callers import Caller, Stranger
from app.database import clock, reading

Action = Literal[
    "login.ok",
    "login.failed",
    "logout",
    "key.created",
    "key.revoked",
    "key.removed",
    "key.refused",
    "job.submitted",
    "job.paused",
    "job.resumed",
    "job.changed",
    "job.cancelled",
    "job.shared",
    "job.unshared",
    "dataset.uploaded",
    "dataset.deleted",
]
_audit = tables.audit.c


@dataclass(frozen=True)
class Entry:
    """at: UTC seconds; key_prefix: of the key that was shown; target: the id of what was acted on."""

    seq: int
    at: float
    owner: str | None
    key_prefix: str | None
    action: str
    target: str | None
    address: str | None
    detail: dict[str, Any]


def add(
    connection: Connection,
    by: Caller | Stranger,
    action: Action,
    target: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Notes one act. `detail` holds no secret: whoever may read the log may read it."""
    connection.execute(
        insert(tables.audit).values(
            at=clock(connection),
            owner=by.owner,
            key_prefix=by.key,
            action=action,
            target=target,
            address=by.address,
            detail=dict(detail or {}),
        )
    )


def page(
    db: Engine, limit: int = 100, before: int | None = None, owner: str | None = None, action: str | None = None
) -> tuple[list[Entry], int | None]:
    """Up to `limit` entries before number `before`, newest first, and the number that leads on; None at the end."""
    query = select(tables.audit).order_by(_audit.seq.desc()).limit(limit + 1)
    if before is not None:
        query = query.where(_audit.seq < before)
    if owner is not None:
        query = query.where(_audit.owner == owner)
    if action is not None:
        query = query.where(_audit.action == action)
    with reading(db) as connection:
        found = [Entry(**row) for row in connection.execute(query).mappings()]
    shown = found[:limit]
    return shown, shown[-1].seq if len(found) > limit else None
