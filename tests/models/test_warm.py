"""Every kernel is compiled before a training needs it, by a process that trains nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from models import warm
from models.kernels import compiled, conv
from models.networks import VGG


def test_kernels_are_compiled_by_another_process_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(warm, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.setattr(subprocess, "run", lambda command, check: started.append(command))
    for _ in range(2):
        warm.load_kernels()
    assert started == [[sys.executable, "-m", "models.warm"]]


def test_compiling_uses_every_kernel_that_a_convolution_trains_with(monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()

    def record(name: str) -> None:
        kernel = getattr(conv, name)
        monkeypatch.setattr(conv, name, lambda *arguments: (used.add(name), kernel(*arguments)))

    for name in ("convolve", "correlate", "gradients"):
        record(name)
    monkeypatch.setattr(warm, "NETWORKS", [network for network in warm.NETWORKS if isinstance(network, VGG)])
    warm.compile_kernels()
    assert used == {"convolve", "correlate", "gradients"}


def test_what_is_compiled_is_kept_apart_for_each_state_of_the_sources() -> None:
    directory = compiled.cache_directory()
    assert directory.name == compiled._SOURCES
    assert list(directory.rglob("perceptron.learn-*.nbi"))
