"""A list of jobs, and one job."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from app import progress, words
from app.client import ENDED, Job
from app.printing.tables import Whole, table

STATE_STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "running": "cyan",
    "confirming": "cyan",
}
SHOWN_OF_ID = 12  # characters; `show` and the others take any unique beginning


def jobs_table(jobs: Sequence[Job]) -> RenderableType:
    if not jobs:
        return Text("no jobs")
    shown = table("id", "name", "state", ">trials", ">best accuracy", "created")
    for job in jobs:
        runs, best = job["progress"]["trials"], job["progress"]["best"]
        shown.add_row(
            job["id"][:SHOWN_OF_ID],
            Text(job["name"]),
            _state(job),
            f"{progress.counted(runs)}/{runs['asked']}",
            words.percent(best["accuracy"]) if best else "",
            _moment(job["created"]),
        )
    return Whole(shown)


def job_lines(job: Job) -> RenderableType:
    """What a job is and how far it got."""
    runs, spec = job["progress"]["trials"], job["spec"]
    counts = ", ".join(f"{runs[name]} {name}" for name in ("done", "pruned", "failed", "running") if runs[name])
    lines = [
        Text(f"{job['name']}  {job['id']}", style="bold"),
        Text("state:   ").append(_state(job)).append(f" ({job['error']})" if job["error"] else ""),
        Text(f"job:     {words.network(spec['network'])} on {words.data(spec['data'])}, seed {spec['seed']}"),
        Text(f"created: {_moment(job['created'])}{_took(job)}"),
        Text(f"trials:  {runs['asked']} asked{f': {counts}' if counts else ''}"),
    ]
    if job["state"] not in ENDED and (best := progress.best(job)):
        lines.append(Text(best))
    return Group(*lines)


def _state(job: Job) -> Text:
    return Text(job["state"], style=STATE_STYLES.get(job["state"], ""))


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _took(job: Job) -> str:
    if job["started"] is None or job["finished"] is None:
        return ""
    took = datetime.fromisoformat(job["finished"]) - datetime.fromisoformat(job["started"])
    return f", took {words.duration(took.total_seconds())}"
