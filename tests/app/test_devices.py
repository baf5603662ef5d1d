"""Which GPUs there are, by the rules of CUDA_VISIBLE_DEVICES."""

import os
import subprocess
import sys

import pytest

from app import devices, parent

UUID = "GPU-3b9a1c7e-2f60-4c1d-9a55-0e8f6d1b2c3d"


@pytest.mark.parametrize(
    ("value", "installed", "seen"),
    [
        (None, 2, ("0", "1")),
        (None, 0, ()),
        ("1", 4, ("1",)),
        ("2, 0", 4, ("2", "0")),
        ("", 4, ()),
        ("-1", 4, ()),
        ("0,-1,1", 4, ("0",)),  # what follows an index that no device has is not seen
        ("0,7,1", 4, ("0",)),
        ("NoDevFiles", 4, ()),
        (UUID, 1, (UUID,)),
        (f"{UUID},1", 2, (UUID, "1")),
        ("MIG-GPU-3b9a/1/0", 1, ("MIG-GPU-3b9a/1/0",)),
        ("0", 0, ()),  # set by habit on a machine without any
    ],
)
def test_the_gpus_seen_are_those_that_cuda_would_see(value: str | None, installed: int, seen: tuple[str, ...]) -> None:
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    assert devices.visible(environment, installed) == seen


def test_a_device_named_twice_is_refused() -> None:
    with pytest.raises(devices.InvalidDevices, match="'1,1' names 1 twice"):
        devices.visible({"CUDA_VISIBLE_DEVICES": "1,1"}, 2)


def test_without_gpus_a_workers_environment_is_left_alone() -> None:
    assert devices.of_place((), 3) == {}


def test_a_child_process_sees_the_gpu_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, dict[str, str]] = {}

    class Caught(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, command: list[str], **given: object) -> None:
            started["env"] = dict(given["env"])  # type: ignore[call-overload]
            super().__init__([sys.executable, "-c", ""], stdin=subprocess.PIPE)

    monkeypatch.setattr(subprocess, "Popen", Caught)
    with parent.start(["worker"], environment=devices.of_place((UUID,), 0)):
        pass
    assert started["env"]["CUDA_VISIBLE_DEVICES"] == UUID
    assert started["env"]["PATH"] == os.environ["PATH"]
