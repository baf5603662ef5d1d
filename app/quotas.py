"""How much one owner may have at once: unfinished jobs and their trials. Stored bytes: `datasets`."""

from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection, func, select, text

from app import tables
from app.settings import Settings

_OWNERS = 0x51554F54  # any constant that fits an int4: the first half of the advisory locks' names
_jobs = tables.jobs.c


class QuotaExceeded(Exception):
    """This would be more than one owner may have. Says what there is, what was asked for and what is allowed."""


@dataclass(frozen=True)
class Quotas:
    """None: no limit. jobs: unfinished; trials: asked of unfinished jobs."""

    jobs: int | None = None
    trials: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.quota_jobs, settings.quota_trials)


UNLIMITED = Quotas()


def hold(connection: Connection, owner: str, quotas: Quotas) -> None:
    """Makes other requests of this owner wait for the end of the transaction. Call it first, before any other lock."""
    if quotas != UNLIMITED and connection.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(:owners, hashtext(:owner))")
        connection.execute(lock, {"owners": _OWNERS, "owner": owner})


def check(connection: Connection, owner: str, quotas: Quotas, jobs: int, trials: int) -> None:
    """Whether so many jobs and trials more are within bounds. Call `hold` before.

    Raises: QuotaExceeded.
    """
    if quotas.jobs is None and quotas.trials is None:
        return
    counted = select(func.count(), func.coalesce(func.sum(_jobs.trials), 0)).where(
        _jobs.owner == owner, _jobs.finished.is_(None)
    )
    has_jobs, has_trials = connection.execute(counted).one()
    _within("unfinished jobs", owner, has_jobs, jobs, quotas.jobs)
    _within("trials asked of unfinished jobs", owner, int(has_trials), trials, quotas.trials)


def _within(what: str, owner: str, has: int, more: int, allowed: int | None) -> None:
    if allowed is not None and has + more > allowed:
        raise QuotaExceeded(f"{what}: {owner!r} has {has:,}, this would add {more:,}; allowed are {allowed:,}")
