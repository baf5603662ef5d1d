"""Runs a job through `snas run`, as a user would, and returns its report."""

import json
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any


def arguments(description: str) -> Namespace:
    """Of a program that runs the job of a file."""
    parser = ArgumentParser(description=description)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--state", type=Path, default=Path(".snas"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def options_of(description: str) -> Namespace:
    """Of a program that brings its own jobs."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--data-dir", type=Path, required=True)
    return parser.parse_args()


def report_of(spec: dict[str, Any], options: Namespace) -> dict[str, Any]:
    """Posts `spec`, waits, and returns the report. Progress goes to stderr."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(spec, file)
        file.flush()
        command = [sys.executable, "-m", "app.cli", "run", file.name, "--json", "--state", str(options.state)]
        command += ["--workers", str(options.workers)]
        command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
        finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def keep(name: str, result: Any) -> Path:
    """Writes the numbers that a page of docs/ shows."""
    path = Path("docs/results") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def kept(name: str, field: str) -> list[Any]:
    """What an earlier run of the program left under `field`; nothing if there was none."""
    path = Path("docs/results") / f"{name}.json"
    return list(json.loads(path.read_text())[field]) if path.exists() else []
