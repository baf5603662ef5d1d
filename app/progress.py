"""A job on its way, on a terminal as bars and elsewhere as lines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from app import words
from app.client import ENDED, Client, Job, Refused, Unreachable

STAGES = {"trials": "search", "shortlist": "shortlist", "final": "confirmation"}
LOOK_EVERY = 0.5  # seconds between two looks at a job whose events keep coming
LINE_EVERY = 2.0  # seconds between two lines within one stage


class Display(Protocol):
    def show(self, job: Job) -> None: ...


def follow(client: Client, job_id: str, patience: float = 30.0) -> Iterator[Job]:
    """The job as it is now, again as it moves on, and at last as it ended.

    patience  seconds without a server before client.Unreachable is raised
    """
    job = client.get(job_id)
    yield job
    if job["state"] in ENDED:
        return
    looked = time.monotonic()
    for event in client.events(job_id, patience=patience):
        if event.type.startswith("job.") or time.monotonic() - looked > LOOK_EVERY:
            try:
                job = client.get(job_id)
            except Unreachable:
                continue  # the stream sees it too, and knows how long to wait for a server
            except Refused as error:
                if error.may_pass:
                    continue
                raise
            yield job
            looked = time.monotonic()
    if job["state"] not in ENDED:
        yield client.get(job_id)


@contextmanager
def display(console: Console) -> Iterator[Display]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    shown = _Live()
    with Live(get_renderable=shown.render, console=console, refresh_per_second=4):
        yield shown


def counted(runs: dict[str, Any]) -> int:
    """Runs of a stage that are over, however they ended."""
    return int(runs["done"] + runs["pruned"] + runs["failed"])


def best(job: Job) -> str | None:
    found = job["progress"]["best"]
    if found is None:
        return None
    trial = "" if found["trial"] is None else f"trial {found['trial']}, "
    return (
        f"best so far: {trial}loss {found['loss']:.4f}, accuracy {100 * found['accuracy']:.2f} %,"
        f" {found['weights']:,} weights"
    )


def _left(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"about {words.duration(seconds)} left" if seconds >= 1 else "nearly done"


def _parts(runs: dict[str, Any]) -> str:
    return ", ".join(f"{runs[name]} {name}" for name in ("running", "pruned", "failed") if runs[name])


class _Live:
    """Bars of the stages begun, the best trial and the time left."""

    def __init__(self) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[parts]}")
        )
        self._tasks = {name: self._bars.add_task(title, visible=False, parts="") for name, title in STAGES.items()}
        self._job: Job | None = None
        self._shown_at = 0.0

    def show(self, job: Job) -> None:
        self._job, self._shown_at = job, time.monotonic()
        for name, task in self._tasks.items():
            runs = job["progress"][name]
            self._bars.update(
                task, total=runs["asked"], completed=counted(runs), parts=_parts(runs), visible=runs["asked"] > 0
            )

    def render(self) -> Group:
        if self._job is None:
            return Group()
        seconds = self._job["progress"]["seconds_left"]
        # Between two looks the clock goes on.
        left = _left(None if seconds is None else seconds - (time.monotonic() - self._shown_at))
        parts = [self._job["state"], best(self._job), left if self._job["state"] not in ENDED else None]
        return Group(self._bars, Text(" · ".join(part for part in parts if part)))


class _Lines:
    """A line when something has finished: at once for a new stage, else every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[str, int] | None = None
        self._at = 0.0

    def show(self, job: Job) -> None:
        name = {"shortlist": "shortlist", "final": "final"}.get(job["progress"]["stage"] or "", "trials")
        runs = job["progress"][name]
        now = (job["state"] + name, counted(runs))
        fresh_stage = self._last is None or now[0] != self._last[0]
        if not fresh_stage and (now == self._last or time.monotonic() - self._at < LINE_EVERY):
            return
        self._last, self._at = now, time.monotonic()
        count = f"{STAGES[name]} {counted(runs)}/{runs['asked']}" if runs["asked"] else None
        left = _left(job["progress"]["seconds_left"]) if job["state"] not in ENDED else None
        parts = [job["state"], count, _parts(runs), best(job), left]
        self._console.print(Text(" · ".join(part for part in parts if part)), soft_wrap=True)
