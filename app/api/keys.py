"""/api/v1/keys: make, list, revoke."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app import database, keys
from app.api.answers import KeyAnswer, KeyList, NewKeyAnswer, Scope, moment, moment_or_none
from app.api.given import Admin, Db, Reader
from app.problems import documented

router = APIRouter(prefix="/keys", tags=["keys"])

DAY = 86400.0  # seconds
Word = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]


class KeyRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    owner: Annotated[Word, Field(description="whose jobs it makes and sees")]
    scope: Annotated[Scope, Field(description="each includes those before it")] = "submit"
    name: Annotated[Word, Field(description="what it is for")]
    days: Annotated[int | None, Field(ge=1, le=3650, description="until it expires; null: never")] = None


@router.post("", status_code=201, responses=documented(408, 413, 415, 422))
def create(asked: KeyRequest, db: Db, caller: Admin, response: Response) -> NewKeyAnswer:
    """A new key. This answer alone holds it: the server keeps a hash."""
    expires = None if asked.days is None else database.now(db) + asked.days * DAY
    key, text = keys.create(db, asked.owner, asked.scope, asked.name, caller, expires)
    response.headers["Location"] = f"/api/v1/keys/{key.prefix}"
    return NewKeyAnswer(key=text, **_fields(key))


@router.get("")
def listed(db: Db, caller: Reader) -> KeyList:
    """An administrator sees every key, others those of their owner; oldest first."""
    return KeyList(items=[_shaped(key) for key in keys.listed(db, caller)])


@router.post("/{prefix}/revoke", responses=documented(404, 422))
def revoke(prefix: str, db: Db, caller: Reader) -> KeyAnswer:
    """Ends a key, of any owner for an administrator, else of one's own. What shows it from now on is refused."""
    return _shaped(keys.revoke(db, prefix, caller))


def _shaped(key: keys.Key) -> KeyAnswer:
    return KeyAnswer(**_fields(key))


def _fields(key: keys.Key) -> dict[str, Any]:
    times = {name: moment_or_none(getattr(key, name)) for name in ("expires", "revoked", "last_used")}
    who = {"prefix": key.prefix, "owner": key.owner, "scope": key.scope, "name": key.name}
    return {**who, "created": moment(key.created), **times}
