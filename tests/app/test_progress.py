import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from app import progress
from app.client import Event, Unreachable

NOTHING = {"asked": 0, "done": 0, "running": 0, "pruned": 0, "failed": 0}


def job(state: str, done: int, **more: Any) -> dict[str, Any]:
    trials = {"asked": 8, "done": done, "running": 2, "pruned": 1, "failed": 0}
    shown = {"stage": "search", "trials": trials, "shortlist": NOTHING, "final": NOTHING, "best": None}
    return {"id": "x", "state": state, "progress": {**shown, "seconds_left": None, **more}}


class Scripted:
    """A client whose job moves on with every look ("gone": no server answers), and whose events are given."""

    def __init__(self, states: list[str], events: list[str]) -> None:
        self.states = iter(states)
        self.types = events

    def get(self, _job_id: str) -> dict[str, Any]:
        state = next(self.states)
        if state == "gone":
            raise Unreachable("no server answers")
        return job(state, done=1)

    def events(self, _job_id: str, patience: float) -> Iterator[Event]:
        yield from (Event(number, kind, {}) for number, kind in enumerate(self.types))


def followed(client: Scripted) -> list[str]:
    return [each["state"] for each in progress.follow(client, "x")]  # type: ignore[arg-type]


def test_a_job_is_looked_at_again_when_it_changes_and_at_its_end() -> None:
    client = Scripted(
        ["queued", "running", "confirming", "completed"],
        ["job.running", "run.epoch", "run.epoch", "job.confirming", "job.completed"],
    )
    assert followed(client) == ["queued", "running", "confirming", "completed"]


def test_a_job_that_is_over_is_shown_once() -> None:
    assert followed(Scripted(["failed"], [])) == ["failed"]


def test_a_stream_that_ends_without_a_last_word_is_followed_by_one_more_look() -> None:
    assert followed(Scripted(["running", "cancelled"], ["run.epoch"])) == ["running", "cancelled"]


def test_a_look_that_finds_no_server_is_passed_over_for_the_stream_waits_for_one() -> None:
    client = Scripted(["queued", "gone", "completed"], ["job.running", "job.completed"])
    assert followed(client) == ["queued", "completed"]


@pytest.mark.parametrize("terminal", [False, True])
def test_bars_and_lines_tell_trials_pruned_best_stage_and_time_left(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200)
    best = {"trial": 3, "loss": 0.25, "accuracy": 0.925, "weights": 1234}
    final = {**NOTHING, "asked": 40, "done": 10, "failed": 1}
    with progress.display(console) as display:
        display.show(job("running", done=4, best=best, seconds_left=75.0))
        display.show(job("confirming", done=7, stage="final", final=final, seconds_left=9.0))
    text = out.getvalue()
    count = "5/8" if not terminal else "8/8"
    for words in (count, "2 running, 1 pruned", "11/40", "1 failed", "confirming"):
        assert words in text
    if not terminal:
        for words in ("best so far: trial 3, loss 0.2500, accuracy 92.50 %, 1,234 weights", "about 1 min 15 s left"):
            assert words in text


def test_lines_do_not_repeat_themselves() -> None:
    out = io.StringIO()
    with progress.display(Console(file=out, width=200)) as display:
        for _ in range(3):
            display.show(job("running", done=4))
    assert len(out.getvalue().splitlines()) == 1
