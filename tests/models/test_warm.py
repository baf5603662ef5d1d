"""Every kernel is compiled before a training needs it, by a process that trains nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from models import warm
from models.kernels import compiled


def test_kernels_are_compiled_by_another_process_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(warm, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append(command))
    for _ in range(2):
        warm.load_kernels()
    assert started == [[sys.executable, "-m", "models.warm"]]


def test_what_is_compiled_is_kept_apart_for_each_state_of_the_sources() -> None:
    directory = compiled.cache_directory()
    assert directory.name == compiled._SOURCES
    assert list(directory.rglob("perceptron.learn-*.nbi"))
