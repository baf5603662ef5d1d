"""Which of the dashboard's paths a caller may see: the studies of the jobs that they may see."""

import re

from sqlalchemy import Engine, or_, select

from app import tables
from app.callers import Caller
from app.database import reading

SHELL = re.compile(r"/dashboard(/.*)?|/static/.*|/api/meta|/favicon\.ico")
"""The same for everyone: no study is in them."""
LIST = "/api/studies"
OF_ONE = re.compile(r"/api/studies/([0-9]{1,18})(/.*)?|/csv/([0-9]{1,18})")
_jobs = tables.jobs.c


def may_see(db: Engine, caller: Caller, path: str) -> bool:
    """False for what belongs to others, and for paths that could name several studies."""
    if caller.sees_all or path == LIST or SHELL.fullmatch(path):
        return True
    named = OF_ONE.fullmatch(path)
    return named is not None and int(named[1] or named[3]) in visible(db, caller)


def visible(db: Engine, caller: Caller) -> set[int]:
    """Optuna's numbers of the studies of the caller's jobs and of shared ones."""
    query = select(_jobs.optuna_study_id).where(
        _jobs.optuna_study_id.is_not(None), or_(_jobs.owner == caller.owner, _jobs.shared)
    )
    with reading(db) as connection:
        return set(connection.execute(query).scalars())
