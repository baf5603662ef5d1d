"""The command line against a small server with one finished job, and what it refuses by itself."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.cli import main, run
from app.client import Client

ID = "0123456789abcdef0123456789abcdef"
CLONE = "fedcba9876543210fedcba9876543210"
RUNS = {"asked": 6, "done": 4, "running": 0, "pruned": 1, "failed": 1}
JOB: dict[str, Any] = {
    "id": ID,
    "name": "digits [small]",
    "state": "completed",
    "priority": 0,
    "created": "2026-01-02T03:04:05Z",
    "started": "2026-01-02T03:04:06Z",
    "finished": "2026-01-02T03:05:16Z",
    "error": None,
    "spec": {
        "name": "digits [small]",
        "seed": 5,
        "data": {"kind": "bundled", "name": "digits"},
        "network": {"kind": "mlp", "widths": [16]},
    },
    "progress": {
        "stage": None,
        "trials": RUNS,
        "shortlist": RUNS,
        "final": RUNS,
        "best": {"trial": 3, "loss": 0.25, "accuracy": 0.9251, "weights": 1234},
        "seconds_left": None,
    },
    "links": {"page": f"/ui/jobs/{ID}", "self": f"/api/v1/jobs/{ID}"},
}
ARM = {"macs": 1234, "accuracies": [0.9, 0.92], "mean": 0.91, "sd": 0.0141, "failed": 0, "same_as": None}
REPORT: dict[str, Any] = {
    "job": {"problem": {"layers": [{"name": "fc1"}, {"name": "output"}]}},
    "pareto": [
        {"trial": 3, "accuracy": 0.9251, "weights": 1234, "densities": [0.125, 0.5], "macs": 2468, "loss": 0.25},
    ],
    "trials": [],
    "confirmation": {
        "measure": "accuracy",
        "shortlist": [
            {"label": "trial:3", "weights": 1234, "macs": 2468, "mean": 0.93, "sd": 0.01, "winner": True},
            {"label": "start:erk", "weights": 1234, "macs": 2468, "mean": 0.92, "sd": None, "winner": False},
        ],
        "arms": {
            "snas": ARM | {"weights": 1234},
            "dense": ARM | {"weights": 26620, "failed": 1},
            "same_capacity": ARM | {"weights": 1200},
        },
        "test": {"name": "one-sided paired Wilcoxon", "mean_difference": 0.0321},
        "p": 0.0039,
        "exploratory": {"dense": {"difference": -0.0123, "p": 0.2, "p_holm": 0.4}},
    },
    "verdict": "At equal capacity sparse beats dense.",
}
ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/api/v1/jobs"): {"items": [JOB], "next_cursor": None},
    ("POST", "/api/v1/jobs"): JOB,
    ("GET", f"/api/v1/jobs/{ID}"): JOB,
    ("GET", f"/api/v1/jobs/{ID}/report"): REPORT,
    ("POST", f"/api/v1/jobs/{ID}/cancel"): {**JOB, "state": "running"},
    ("POST", f"/api/v1/jobs/{ID}/pause"): {**JOB, "state": "paused"},
    ("POST", f"/api/v1/jobs/{ID}/resume"): {**JOB, "state": "running"},
    ("POST", f"/api/v1/jobs/{ID}/clone"): {**JOB, "id": CLONE},
    ("PATCH", f"/api/v1/jobs/{ID}"): {**JOB, "state": "running"},
}


BODIES: list[str] = []
"""What was sent, in order."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ANSWERS[self.command, self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        BODIES.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.do_GET()

    do_PATCH = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def snas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["snas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


Snas = Callable[..., tuple[int, str, str]]
CHANGING = ["cancel", "pause", "resume", "clone", "change"]


def spec_file(directory: Path, text: str = '{"name": "x", "data": {"kind": "bundled"}}') -> Path:
    file = directory / "job.json"
    file.write_text(text)
    return file


def test_a_submitted_job_is_answered_with_its_id_and_its_page(snas: Snas, url: str, tmp_path: Path) -> None:
    assert snas("submit", spec_file(tmp_path), "--url", url) == (0, f"{ID}\n{url}/ui/jobs/{ID}\n", "")


def test_jobs_are_listed_with_state_trials_and_best_accuracy(snas: Snas, url: str) -> None:
    code, out, _ = snas("jobs", "--url", url)
    assert code == 0
    for words in (ID[:12], "digits [small]", "completed", "6/6", "92.51 %", "2026-01-02 03:04 UTC"):
        assert words in out


@pytest.mark.parametrize("command", ["show", "watch"])
def test_a_finished_job_is_shown_with_front_confirmation_and_verdict(snas: Snas, url: str, command: str) -> None:
    code, out, _ = snas(command, ID[:5], "--url", url)
    assert code == 0
    for words in (
        "mlp 16 on digits (bundled), seed 5",
        "took 1 min 10 s",
        "6 asked: 4 done, 1 pruned, 1 failed",
        "12.5 %",  # a layer's density
        "91.00 ± 1.41 %",  # mean and sd of an arm
        "26,620",  # weights of the dense arm
        "+3.21",  # snas minus same_capacity, points
        "0.0039",  # its p
        "0.4000",  # Holm's p of the dense arm, not the raw one
        "1 failed",
        "Verdict: At equal capacity sparse beats dense.",
        f"{url}/ui/jobs/{ID}",
    ):
        assert words in out


def test_show_as_json_prints_the_report_and_nothing_else(snas: Snas, url: str) -> None:
    code, out, err = snas("show", ID, "--url", url, "--json")
    assert (code, json.loads(out), err) == (0, REPORT, "")


def test_a_cancelled_job_is_named(snas: Snas, url: str) -> None:
    assert snas("cancel", ID, "--url", url) == (0, f"{ID} is being cancelled\n", "")


def test_a_job_is_paused_and_resumed(snas: Snas, url: str) -> None:
    assert snas("pause", ID, "--url", url) == (0, f"{ID} paused\n", "")
    assert snas("resume", ID, "--url", url) == (0, f"{ID} running\n", "")


def test_a_job_is_cloned_with_what_a_file_says_and_another_name(snas: Snas, url: str, tmp_path: Path) -> None:
    file = spec_file(tmp_path, '{"seed": 5}')
    code, out, _ = snas("clone", ID, file, "--name", "again", "--url", url)
    assert (code, out.splitlines()[0]) == (0, CLONE)
    assert json.loads(BODIES[-1]) == {"seed": 5, "name": "again"}


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (["--trials", "50"], {"trials": 50}),
        (["--priority", "-3", "--max-parallel", "2"], {"priority": -3, "max_parallel": 2}),
        (["--unlimited"], {"max_parallel": None}),
    ],
)
def test_a_job_is_changed_in_what_is_named_alone(
    snas: Snas, url: str, options: list[str], sent: dict[str, Any]
) -> None:
    assert snas("change", ID, *options, "--url", url) == (0, f"{ID} running\n", "")
    assert json.loads(BODIES[-1]) == sent


def test_a_change_of_nothing_is_refused(snas: Snas, url: str) -> None:
    code, _, err = snas("change", ID, "--url", url)
    assert code == 2
    assert "--trials" in err


def test_an_id_that_no_job_begins_with_is_refused(snas: Snas, url: str) -> None:
    code, _, err = snas("show", "ff", "--url", url)
    assert code == 2
    assert "no job has an id that begins with 'ff'" in err


def test_the_server_may_be_named_by_environment_or_state_directory(
    snas: Snas, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = snas("jobs", "--state", tmp_path)
    assert code == 2
    assert "no server runs on" in err
    monkeypatch.setenv("SNAS_URL", url)
    assert snas("jobs")[0] == 0


def test_without_a_server_the_address_is_named(snas: Snas) -> None:
    code, out, err = snas("jobs", "--url", "http://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert err.startswith("error: no server answers at http://127.0.0.1:1")


def test_ctrl_c_ends_a_client_command_without_a_traceback(
    snas: Snas, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "get", interrupted)
    code, _, err = snas("watch", ID, "--url", url)
    assert code == 130
    assert "Traceback" not in err


def test_the_version_is_printed(snas: Snas) -> None:
    code, out, _ = snas("--version")
    assert code == 0
    assert out.startswith("snas 0.")


@pytest.mark.parametrize("command", ["serve", "worker", "run", "submit", "jobs", "show", "watch", *CHANGING])
def test_every_command_explains_itself(snas: Snas, command: str) -> None:
    code, out, _ = snas(command, "--help")
    assert code == 0
    assert "--state" in out
    assert "with-parent" not in out


HEAVY = ("torch", "optuna", "numba", "fastapi", "sqlalchemy", "sklearn", "scipy")
LIST_HEAVY = f"""
import sys
from app.cli import main, run
from app.client import Client
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("command", [["jobs"], ["watch", ID], ["cancel", ID], ["clone", ID], ["submit"]], ids=str)
def test_a_command_that_only_talks_to_a_server_imports_nothing_heavy(
    url: str, tmp_path: Path, command: list[str]
) -> None:
    words = [*command, str(spec_file(tmp_path))] if command == ["submit"] else command
    done = subprocess.run(
        [sys.executable, "-c", LIST_HEAVY, *words, "--url", url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def _with_space(end: str) -> str:
    return f'{{"name": "x", "data": {{"kind": "bundled"}}, "search": {{"space": {{"kind": "free", {end}}}}}}}'


BAD = [
    ('{"name": "x",\n "data" {}}', ["line 2, column 9"]),
    ('{"name": "x", "data": {"kind": "bundled"}, "sead": 1}', ["sead: unknown field", "seed, priority"]),
    ('{"name": "x", "data": {"kind": "bundled", "name": "digit"}}', ["data.name", "'digit'", "'iris'"]),
    ('{"name": "x", "data": {"kind": "imagenet"}}', ["data.kind", "'imagenet'", "'bundled'"]),
    ('{"name": "x", "data": {"kind": "bundled"}, "search": {"trials": NaN}}', ["search.trials", "nan", "finite"]),
    (_with_space('"low": 0'), ["search.space.low", "0", "greater than 0"]),
    (_with_space('"high": 1.5'), ["search.space.high", "1.5", "less than or equal to 1"]),
    ('{"name": "x"}', ["data: this field is required"]),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[words[0] for _, words in BAD])
def test_a_wrong_job_is_refused_by_run_before_anything_is_made(
    snas: Snas, tmp_path: Path, text: str, words: list[str]
) -> None:
    state = tmp_path / "state"
    code, out, err = snas("run", spec_file(tmp_path, text), "--state", state)
    assert (code, out) == (2, "")
    assert all(each in err for each in words), err
    assert "Traceback" not in err
    assert not state.exists()


def test_a_missing_file_or_data_directory_is_named(snas: Snas, tmp_path: Path) -> None:
    code, _, err = snas("run", tmp_path / "absent.json")
    assert code == 2
    assert "absent.json: cannot be read" in err
    code, _, err = snas("run", spec_file(tmp_path), "--data-dir", tmp_path / "absent")
    assert code == 2
    assert "does not exist" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_request_to_end_are_one_and_later_ones_are_not_heard(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with run._interruptible() as is_interrupted:
        assert not is_interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert is_interrupted()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
