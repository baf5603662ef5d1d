"""A table is uploaded, read by a worker, trained on and deleted; harmful files harm nobody."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import children, descendants, until
from sklearn.datasets import load_iris

from app import local
from app.client import Client, Refused
from app.local import Local

MOST_FURTHER = 64 * 1024  # KiB of memory that a server takes for an upload of three times as much


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Local]:
    with local.server(tmp_path, None, workers=1) as started:
        yield started


def packed(**arrays: Any) -> bytes:
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


HARMFUL = {
    "pickled objects, which are never loaded": packed(x=np.array([{}, {}]), y=np.arange(2)),
    "not a zip archive that can be read": packed(x=np.eye(2), y=np.arange(2))[:100],
    "is longer than 16,777,216 characters": b"x,label\n" + b"1" * 20_000_000,
    "262,144": b"x," * 1_000_000 + b"label\n",
}


def table() -> bytes:
    iris = load_iris()
    rows = [",".join(map(str, x)) + f",{iris.target_names[y]}" for x, y in zip(iris.data, iris.target, strict=True)]
    return "\n".join(["a,b,c,d,species", *rows]).encode()


def settled(client: Client, dataset: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = client.dataset(dataset["id"])
        return found if found["state"] in ("ready", "refused") else None

    found = until(look)
    assert found is not None
    return found


def peak(pid: int) -> int:
    """KiB of memory that a process ever had."""
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return int(line.split()[1])


def test_a_table_is_uploaded_trained_on_and_deleted_and_harmful_files_harm_nobody(server: Local) -> None:
    assert server.process is not None
    pid = server.process.pid
    with Client(server.url) as client:
        data = table()
        made = client.upload("iris", io.BytesIO(data), len(data), label="species")
        ready = settled(client, made)
        assert (ready["state"], ready["format"], ready["error"]) == ("ready", "csv", None)
        assert (ready["preview"]["samples"], ready["preview"]["labels"]) == (150, ["setosa", "versicolor", "virginica"])

        job = client.submit(
            {
                "name": "iris",
                "data": {"kind": "upload", "name": "iris"},
                "network": {"kind": "mlp", "widths": [8]},
                "training": {"epochs": 2, "batch_size": 32},
                "search": {"trials": 2},
                "confirm": {"shortlist": 1, "shortlist_seeds": 2, "seeds": 2, "arms": ["erk"]},
            }
        )
        if client.get(job["id"])["state"] in ("queued", "running", "confirming"):
            with pytest.raises(Refused, match="has not ended"):
                client.delete_dataset(made["id"])
        events = list(client.events(job["id"]))
        ended = client.get(job["id"])
        assert (ended["state"], ended["error"], events[-1].type) == ("completed", None, "job.completed")
        assert ended["spec"]["data"]["sha256"] == made["sha256"]
        client.delete_dataset(made["id"])
        assert list(client.datasets()) == []

        until(lambda: len(descendants(pid)) >= 2)
        workers, before = children(pid), peak(pid)
        zeros = bytes(3 * MOST_FURTHER * 1024)
        client.delete_dataset(settled(client, client.upload("zeros", io.BytesIO(zeros), len(zeros)))["id"])
        assert peak(pid) - before < MOST_FURTHER
        for number, (reason, data) in enumerate(HARMFUL.items()):
            sent = client.upload(f"harmful{number}", io.BytesIO(data), len(data))
            refused = settled(client, sent)
            assert refused["state"] == "refused"
            assert reason in refused["error"]
        assert children(pid) == workers, "no worker was lost"
        assert client.is_ready()
