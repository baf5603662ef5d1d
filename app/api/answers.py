"""The JSON that the API answers with."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

State = Literal["queued", "running", "confirming", "paused", "completed", "failed", "cancelled"]
RunState = Literal["waiting", "asking", "running", "finishing", "complete", "pruned", "failed", "cancelled", "lost"]
Stage = Literal["search", "shortlist", "final"]
Scope = Literal["read", "submit", "admin"]


class Runs(BaseModel):
    """How many runs of a stage were asked for, and what became of them; `done` counts the complete ones."""

    asked: int
    done: int
    running: int
    pruned: int
    failed: int


class BestTrial(BaseModel):
    """The best complete trial so far, on the validation split."""

    trial: int | None
    loss: float
    accuracy: float
    weights: int


class Progress(BaseModel):
    stage: Stage
    trials: Runs
    shortlist: Runs
    final: Runs
    best: BestTrial | None
    seconds_left: Annotated[float | None, Field(description="an estimate; null until runs have finished")]


class Used(BaseModel):
    """By the processes that trained, in lost attempts and confirmations too, as far as their workers lived to tell."""

    cpu_seconds: Annotated[float, Field(description="of all threads")]
    peak_bytes: Annotated[
        int | None, Field(description="the most resident memory of one trainer, its libraries and data included")
    ]


class Links(BaseModel):
    self: str
    trials: str
    runs: str
    pareto: str
    report: str
    events: str
    page: str
    dashboard: str | None


class JobAnswer(BaseModel):
    id: str
    name: str
    owner: str
    shared: Annotated[bool, Field(description="every caller may see it; else its owner and administrators")]
    state: State
    priority: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: str | None
    spec: Annotated[dict[str, Any], Field(description="the job, every default written out")]
    progress: Progress
    used: Used
    links: Links


class RunAnswer(BaseModel):
    """One attempt at a slot of a stage."""

    id: str
    stage: str
    ordinal: int
    attempt: int
    trial: Annotated[int | None, Field(description="Optuna's number, of the search")]
    state: RunState
    host: Annotated[str | None, Field(description="that trains it, or did last")]
    started: datetime | None
    finished: datetime | None
    error: str | None
    cpu_seconds: Annotated[float | None, Field(description="of all threads; null: nothing was told")]
    peak_bytes: Annotated[int | None, Field(description="the most resident memory of its trainer meanwhile")]
    log: Annotated[str, Field(description="where the end of what it wrote can be read")]


class RunList(BaseModel):
    items: list[RunAnswer]


class JobPage(BaseModel):
    items: list[JobAnswer]
    next_cursor: Annotated[str | None, Field(description="give it as `cursor` to read on; null on the last page")]


class Rows(BaseModel):
    items: list[dict[str, Any]]


class Distance(BaseModel):
    a: int
    b: int
    distance: Annotated[float, Field(description="in [0, 1], the mean over layers")]
    by_layer: list[float]


class KeyAnswer(BaseModel):
    prefix: Annotated[str, Field(description="the part of the key that may be shown; it names the key")]
    owner: str
    scope: Scope
    name: str
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    last_used: Annotated[datetime | None, Field(description="to the minute")]


class NewKeyAnswer(KeyAnswer):
    key: Annotated[str, Field(description="the key itself; it is not to be had again")]


class KeyList(BaseModel):
    items: list[KeyAnswer]


class AuditEntry(BaseModel):
    seq: int
    at: datetime
    owner: Annotated[str | None, Field(description="null: nobody that is known")]
    key: Annotated[str | None, Field(description="the prefix of the key that was shown")]
    action: str
    target: str | None
    address: str | None
    detail: dict[str, Any]


class AuditPage(BaseModel):
    items: list[AuditEntry]
    next_cursor: Annotated[int | None, Field(description="give it as `cursor` to read on; null on the last page")]


class Health(BaseModel):
    status: Literal["ok"] = "ok"


class Version(BaseModel):
    """revision: of the tables; libraries: those that a result or an incident may depend on."""

    version: str
    python: str
    libraries: dict[str, str]
    database: str
    revision: str | None


def moment(seconds: float) -> datetime:
    """seconds: UTC, since the epoch"""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
