"""Jobs that are really trained, in this process, run by run."""

from dataclasses import asdict
from typing import Any

from by_hand import LEASE, Hand

from app import database, fences, jobs, runs
from app.claims import Claim
from search import trials
from search.points import Assignment, Outcome
from search.spec import parse

TINY: dict[str, Any] = {
    "name": "tiny digits",
    "data": {"kind": "bundled", "name": "digits", "limit": 300},
    "network": {"kind": "mlp", "widths": [16]},
    "training": {"epochs": 2, "batch_size": 32},
    "search": {"space": {"kind": "free", "low": 0.1, "high": 0.5}, "objectives": ["loss", "weights"], "trials": 5},
    "confirm": {"shortlist": 2, "shortlist_seeds": 2, "seeds": 2, "arms": ["dense", "same_capacity", "erk"]},
}


def train_all(hand: Hand) -> None:
    """Trains every run there is, to the end of its job."""
    while (claim := hand.claim()) is not None:
        train(hand, claim)


def train(hand: Hand, claim: Claim) -> None:
    hand.begin(claim)
    hand.finish(claim, result=_learn(hand, claim).to_json())


def begin_one(hand: Hand) -> Claim:
    """A run that has trained one epoch and is left there."""
    claim = hand.take()
    hand.begin(claim)
    _record(hand, claim, next(_reports(hand, claim)))
    return claim


def _learn(hand: Hand, claim: Claim) -> Outcome:
    for each in _reports(hand, claim):
        if isinstance(each, Outcome):
            return each
        _record(hand, claim, each)
    raise AssertionError("a training ends with its outcome")


def _reports(hand: Hand, claim: Claim) -> Any:
    row = next(run for run in runs.of_job(hand.db, claim.job_id, claim.stage) if run.id == claim.run_id)
    assert row.assignment is not None
    return trials.perform(parse(jobs.get(hand.db, claim.job_id).spec), Assignment.from_json(row.assignment), None)


def _record(hand: Hand, claim: Claim, report: Any) -> None:
    row = asdict(report) | {"nnz": list(report.nnz)}
    fences.record(hand.db, claim, [row], database.now(hand.db), LEASE)
