import json
import subprocess
import sys
from pathlib import Path

import pytest

from app import state
from app.state import Address, Occupied


def test_a_second_server_on_a_directory_is_refused_and_told_who_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "LOOKED_AT", 0.0)
    with state.held(tmp_path):
        Address("http://127.0.0.1:1234", 77).write(tmp_path)
        with pytest.raises(Occupied, match=r"http://127\.0\.0\.1:1234, process 77"), state.held(tmp_path):
            pass
        assert Address.read(tmp_path) == Address("http://127.0.0.1:1234", 77)
    with state.held(tmp_path):
        pass


def test_a_directory_is_held_only_while_its_server_lives(tmp_path: Path) -> None:
    assert not state.is_held(tmp_path / "absent")
    script = "import sys; from pathlib import Path; from app import state\n"
    script += "with state.held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert state.is_held(tmp_path)
        holder.kill()  # not even a chance to clean up
    assert not state.is_held(tmp_path)


def test_the_address_of_a_dead_server_is_forgotten_by_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 1}))
    with state.held(tmp_path):
        assert Address.read(tmp_path) is None
