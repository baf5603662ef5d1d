"""What a caller may see and change."""

from dataclasses import replace

import pytest
from by_hand import problem, spec
from sqlalchemy import Engine

from app import queueing
from app.callers import ADMIN, READ, SCOPES, SUBMIT, Caller, NotAllowed
from app.jobs import Job


@pytest.fixture
def job(db: Engine) -> Job:
    asked = spec()
    return queueing.submit(db, asked, problem(asked), by=Caller("ada", SUBMIT))[0]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_job_is_seen_by_its_owner_and_by_administrators(job: Job, scope: str) -> None:
    assert Caller("ada", scope).may_see(job)
    assert Caller("bob", scope).may_see(job) == (scope == ADMIN)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_job_is_changed_by_its_owner_who_may_submit_and_by_administrators(job: Job, scope: str) -> None:
    assert Caller("ada", scope).may_change(job) == (scope != READ)
    assert Caller("bob", scope).may_change(job) == (scope == ADMIN)


def test_a_scope_includes_the_narrower_ones_and_no_wider_one() -> None:
    submitter = Caller("ada", SUBMIT)
    submitter.require(READ)
    submitter.require(SUBMIT)
    with pytest.raises(NotAllowed, match="'admin'; the scope given is 'submit'"):
        replace(submitter).require(ADMIN)
