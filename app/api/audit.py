"""/api/v1/audit: who did what."""

from typing import Annotated

from fastapi import APIRouter, Query

from app import audit
from app.api.answers import AuditEntry, AuditPage, moment
from app.api.given import Admin, Db
from app.problems import documented

router = APIRouter(prefix="/audit", tags=["keys"])

Cursor = Annotated[int | None, Query(ge=1, lt=2**63, description="read on from the `next_cursor` of the last page")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Owner = Annotated[str | None, Query(max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$", description="only what they did")]


@router.get("", responses=documented(422))
def page(
    db: Db,
    _caller: Admin,
    limit: Limit = 100,
    cursor: Cursor = None,
    owner: Owner = None,
    action: audit.Action | None = None,
) -> AuditPage:
    """Logins, keys, jobs, data sets: who did it, with which key, from where; the newest first."""
    found, following = audit.page(db, limit, cursor, owner, action)
    shown = [
        AuditEntry(
            seq=entry.seq,
            at=moment(entry.at),
            owner=entry.owner,
            key=entry.key_prefix,
            action=entry.action,
            target=entry.target,
            address=entry.address,
            detail=entry.detail,
        )
        for entry in found
    ]
    return AuditPage(items=shown, next_cursor=following)
