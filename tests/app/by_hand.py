"""A worker moved by hand, step by step, and the small values it moves. Nothing is trained."""

from functools import lru_cache
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import Engine

from app import claims, database, endings, fences, jobs
from app.claims import Claim
from app.runs import RunRow
from search import study
from search.points import Outcome
from search.problem import Problem, examine, problem_from, split_seed
from search.spec import JobSpec, parse

LEASE = 60.0


class Hand:
    """at: the time, where it matters; else now."""

    def __init__(self, db: Engine, storage: RDBStorage, name: str) -> None:
        self.db, self.storage, self.name = db, storage, name
        self._claimed: dict[str, float] = {}

    def claim(self, at: float | None = None) -> Claim | None:
        at = database.now(self.db) if at is None else at
        claim = claims.claim(self.db, self.name, "host", at, LEASE)
        if claim is not None:
            self._claimed[claim.run_id] = at
        return claim

    def take(self, at: float | None = None) -> Claim:
        claim = self.claim(at)
        assert claim is not None
        return claim

    def begin(self, claim: Claim) -> int | None:
        """Asks as a supervisor does, at the time of the claim; returns Optuna's number."""
        job = jobs.get(self.db, claim.job_id)
        asked = parse(job.spec)
        jobs.open_study(self.db, self.storage, job)
        with fences.fence(self.db, claim, "asking") as connection:
            number, assignment = claim.number, claim.assignment
            if assignment is None:
                number, point = study.ask(self.storage, job.study_name, asked, problem_from(job.problem), claim.ordinal)
                assignment = point.to_json()
            fences.begin(connection, claim, number, assignment, self._claimed[claim.run_id], LEASE)
        return number

    def finish(self, claim: Claim, ending: str = "complete", result: dict[str, Any] | None = None) -> None:
        endings.close(self.db, self.storage, self.store_end(claim, ending, result))

    def store_end(self, claim: Claim, ending: str = "complete", result: dict[str, Any] | None = None) -> RunRow:
        if ending == "complete" and result is None:
            result = outcome()
        error = "it diverged" if ending == "failed" else None
        return fences.finish(self.db, claim, ending, result, error, database.now(self.db), LEASE)

    def do(self, ending: str = "complete", result: dict[str, Any] | None = None) -> Claim:
        """One run from claim to end."""
        claim = self.take()
        self.begin(claim)
        self.finish(claim, ending, result)
        return claim

    def trials(self, job: jobs.Job) -> dict[int, str]:
        """Optuna's trials: number -> state."""
        return {trial.number: trial.state for trial in study.trials(self.storage, job.study_name)}

    def do_all(self) -> int:
        """Every run there is; how many there were."""
        done = 0
        while (claim := self.claim()) is not None:
            self.begin(claim)
            self.finish(claim)
            done += 1
        return done


def spec(confirm: Any = None, priority: int = 0, name: str = "job", epochs: int = 3, **search: Any) -> JobSpec:
    return parse(
        {
            "name": name,
            "priority": priority,
            "data": {"kind": "bundled", "name": "digits", "limit": 200},
            "network": {"kind": "mlp", "widths": [8]},
            "training": {"epochs": epochs, "batch_size": 64},
            "search": {"trials": 4, "space": {"kind": "free", "low": 0.05, "high": 0.5}, **search},
            "confirm": confirm,
        }
    )


def problem(of: JobSpec) -> Problem:
    return examine(of, None)


def epoch(number: int, loss: float = 1.0) -> dict[str, Any]:
    measured = {"loss": loss, "accuracy": 0.5, "balanced_accuracy": 0.5, "egf_1": 1.0, "egf_2": 1.0}
    return {"epoch": number, "train_loss": loss, "nnz": [20, 10], "churn": 0.1, "lr": 0.1, "seconds": 0.1, **measured}


def outcome(loss: float = 0.5, counts: tuple[int, ...] = (20, 10)) -> dict[str, Any]:
    return Outcome(
        loss=loss,
        accuracy=1 - loss,
        balanced_accuracy=1 - loss,
        weights=sum(counts),
        macs=sum(counts),
        nnz=counts,
        nnz_asked=counts,
        connections="0" * 64,
        storage=("masked",),
        egf_1=1.0,
        egf_2=1.0,
        seconds=0.3,
        epochs=3,
    ).to_json()


@lru_cache
def _data_hash(of: JobSpec) -> str:
    return of.data.load(None, split_seed(of)).hash
