"""Workers with state directories of their own, as on hosts of their own, share the jobs of one PostgreSQL."""

from pathlib import Path

import ledger
import numpy as np
import pytest
import stores
from forked import Hold, Process, serving, working
from processes import until

from app import database, runs, state
from app.client import Client
from app.settings import Settings

TRIALS = 8
JOB = {
    "name": "two hosts",
    "data": {"kind": "files", "name": "given.npz"},
    "network": {"kind": "mlp", "widths": [8]},
    "training": {"epochs": 3, "batch_size": 16},
    "search": {"trials": TRIALS, "space": {"kind": "free"}, "sampler": {"kind": "random"}},
    "confirm": None,
}


def a_host(directory: Path, url: str) -> Settings:
    """Its own directories, with the data set by the name that jobs use; only the database is shared."""
    data_dir = directory / "data"
    data_dir.mkdir(parents=True)
    draw = np.random.default_rng(0)
    np.savez(data_dir / "given.npz", x=draw.normal(size=(90, 4)), y=np.arange(90) % 3)
    return Settings(
        state_dir=directory / "state",
        data_dir=data_dir,
        database_url=url,
        poll_seconds=0.05,
        trainer="sleep",
        sleep_seconds=0.5,
    )


@pytest.mark.slow
def test_workers_on_two_hosts_share_a_job(tmp_path: Path) -> None:
    with stores.database_url("postgres") as url:
        assert url is not None
        server, *hosts = (a_host(tmp_path / name, url) for name in ("server", "one", "two"))
        processes = [Process(serving, server), *(Process(working, each, None, Hold(tmp_path)) for each in hosts)]
        try:
            address = until(lambda: state.Address.read(server.state_dir))
            with Client(address.url) as client:
                job_id = client.submit(JOB)["id"]
                until(lambda: client.get(job_id)["state"] == "completed")
            ledger.check(server, job_id)
            db = database.engine(server)
            took_part = {run.worker_id for run in runs.of_job(db, job_id)}
            db.dispose()
        finally:
            for process in processes:
                process.end()
    assert len(took_part) == len(hosts)
    assert [path.name for path in tmp_path.rglob("*.db")] == []
