"""Jobs that only their data shows to be wrong, given to a real server by `snas run`."""

import gzip
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import local
from app.cli import main
from app.client import Client


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("given") / "data"
    directory.mkdir()
    (directory.parent / "secret.csv").write_text("a,label\n1,2\n")
    x, y = np.arange(180.0).reshape(90, 2), np.arange(90) % 3
    np.savez(directory / "pickled.npz", x=np.array([{"a": 1}] * 90, dtype=object), y=y)
    np.savez(directory / "good.npz", x=x, y=y)
    (directory / "three.csv").write_text("a,label\n1,x\n2,y\n3,z\n")
    (directory / "unlabelled.csv").write_text("a,b\n1,2\n3,4\n")
    images = struct.pack(">IIII", 0x00000803, 9, 2, 2) + bytes(20)  # 9 images of 4 pixels are 36 bytes
    labels = struct.pack(">II", 0x00000801, 9) + bytes(9)
    (directory / "cut").mkdir()
    for part in ("train", "t10k"):
        (directory / "cut" / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (directory / "cut" / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return directory


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("state")
    with local.server(directory, data_dir, workers=0):
        yield directory


def run(spec: dict[str, Any], state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    file = state_dir / "job.json"
    file.write_text(json.dumps(spec))
    monkeypatch.setattr(sys, "argv", ["snas", "run", str(file), "--json", "--state", str(state_dir)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def files(name: str, **more: Any) -> dict[str, Any]:
    return {"name": "wrong", "data": {"kind": "files", "name": name, **more}}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (files("absent.npz"), ["data.name", "'absent.npz'", "good.npz"]),
        (files("../secret.csv"), ["data.name", "'../secret.csv'", "inside the data directory"]),
        (files("/etc/passwd"), ["data.name", "'/etc/passwd'", "inside the data directory"]),
        (files("pickled.npz"), ["pickled.npz", "pickle"]),
        (files("cut"), ["cut/train-images-idx3-ubyte.gz", "36", "20"]),
        (files("unlabelled.csv"), ["unlabelled.csv", "'label'"]),
        (files("unlabelled.csv", label="c"), ["unlabelled.csv", "'c'"]),
        (files("three.csv"), ["data.test", "3 samples in 3 classes"]),
        (
            files("good.npz") | {"search": {"space": {"kind": "budget", "weights": 10_000_000}}},
            ["search.space.weights", "10000000"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_job_that_its_data_show_to_be_wrong_is_refused_and_none_is_made(
    state_dir: Path,
    spec: dict[str, Any],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run(spec, state_dir, monkeypatch)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert "error: " in err
    assert "Traceback" not in err
    for each in words:
        assert each in err
    found = local.state.Address.read(state_dir)
    assert found is not None
    with Client(found.url) as client:
        assert list(client.jobs()) == []
