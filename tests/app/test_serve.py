"""What a server refuses before it starts; its life is met in tests/journeys/test_processes.py."""

import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import state
from app.serve import CannotListen, serve
from app.settings import Settings


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_other_machines_may_not_reach_a_server_without_login_unless_its_hosts_are_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(CannotListen, match=r"no login yet.*SNAS_ALLOWED_HOSTS"):
            serve(settings, host, 0, workers=0)
    assert not settings.state_dir.exists()


def test_naming_the_hosts_lets_them_in_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(state_dir=tmp_path, allowed_hosts=("snas.example.org",))
    with caplog.at_level(logging.WARNING), pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1"):
        serve(settings, "192.0.2.1", 0, workers=0)  # an address for documentation, of no machine
    assert "there is no login yet" in caplog.text


def test_a_port_in_use_is_named_and_the_directory_is_free_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port}: address already in use"):
            serve(Settings(state_dir=tmp_path), "127.0.0.1", port, workers=0)
    assert not state.is_held(tmp_path)
