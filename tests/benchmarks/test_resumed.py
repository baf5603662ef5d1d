"""Rows of trainings are kept as they come and not measured again."""

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.resumed import rows_of


@dataclass(frozen=True)
class Case:
    arm: str
    seed: int


def measure(data_dir: Path, case: Case):
    if case.seed == 3:
        raise ArithmeticError("this one fails")
    log = data_dir / "measured"
    log.write_text((log.read_text() if log.exists() else "") + f"{case.arm}{case.seed} ")
    return {"accuracy": case.seed / 10}


CASES = [Case(arm, seed) for seed in (0, 1) for arm in ("a", "b")]


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Namespace(data_dir=tmp_path, workers=1)


def test_rows_come_in_the_order_of_the_cases(options):
    rows = rows_of("some", CASES, measure, options)
    assert rows == [{"arm": c.arm, "seed": c.seed, "accuracy": c.seed / 10} for c in CASES]


def test_only_what_is_missing_is_measured(options):
    rows_of("some", CASES[1:3], measure, options)
    rows = rows_of("some", CASES, measure, options)
    assert (options.data_dir / "measured").read_text().split() == ["b0", "a1", "a0", "b1"]
    assert [(row["arm"], row["seed"]) for row in rows] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_training_that_fails_ends_the_program_and_leaves_the_rows_before_it(options):
    with pytest.raises(ArithmeticError, match="this one fails"):
        rows_of("some", [Case("a", 0), Case("a", 3)], measure, options)
    kept = json.loads(Path("docs/results/some.json").read_text())["rows"]
    assert [row["seed"] for row in kept] == [0]
