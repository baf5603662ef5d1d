"""What a server refuses before it starts; its life is met in tests/journeys/test_processes.py."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import database, keys, state
from app.serve import CannotListen, _listen, serve
from app.settings import Settings


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_other_machines_may_not_reach_a_server_that_asks_for_no_key(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state", allowed_hosts=("snas.example.org",))
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(CannotListen, match=r"no key is needed yet.*snas init"):
            serve(settings, host, 0, workers=0)
    assert not settings.state_dir.exists()


def test_a_state_without_keys_is_not_enough_and_one_with_a_key_is(sqlite: Settings) -> None:
    with pytest.raises(CannotListen, match="no key is needed yet"):
        serve(sqlite, "192.0.2.1", 0, workers=0)  # an address for documentation, of no machine
    db = database.engine(sqlite)
    keys.create_first(db, keys.generate())
    db.dispose()
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1"):
        serve(sqlite, "192.0.2.1", 0, workers=0)


def test_the_secret_of_a_container_is_as_good_as_a_key(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{keys.generate()}\n")
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1"):
        serve(Settings(state_dir=tmp_path, first_key_file=file), "192.0.2.1", 0, workers=0)


def test_a_secret_that_is_no_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2")
    state_dir = tmp_path / "state"
    for settings in (
        Settings(state_dir=state_dir, first_key_file=file),
        Settings(state_dir=state_dir, first_key=SecretStr("hunter2")),
    ):
        with pytest.raises(CannotListen, match="7 characters that are no key") as refused:
            serve(settings, "127.0.0.1", 0, workers=0)
        assert "hunter2" not in str(refused.value)
        assert "hunter2" not in repr(settings)
    with pytest.raises(CannotListen, match=r"absent: No such file"):
        serve(Settings(state_dir=state_dir, first_key_file=tmp_path / "absent"), "127.0.0.1", 0, workers=0)
    assert not state_dir.exists()


def test_a_port_in_use_is_named_and_the_directory_is_free_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port}: address already in use"):
            serve(Settings(state_dir=tmp_path), "127.0.0.1", port, workers=0)
    assert not state.is_held(tmp_path)


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_head() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
