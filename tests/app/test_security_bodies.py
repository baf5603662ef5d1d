"""Bodies that are too much, too slow, too deep or not what they say, and words that would be code or places."""

import json
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from trained import TINY

from app import connections, database, keys
from app.main import create_app
from app.settings import Settings

JSON = {"Content-Type": "application/json"}
MIB = 2**20


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"name":' * 50_000,
        "1" * 5000,
        '{"seed": ' + "9" * 5000 + "}",
        "",
        "\xff",
        "\0",
        '"\\ud800"',
        "null",
    ],
    ids=["deep list", "deep object", "long number", "long field", "empty", "no utf-8", "nul", "surrogate", "null"],
)
def test_json_that_is_none_or_no_job_is_refused(untouched: TestClient, text: str) -> None:
    answer = untouched.post("/api/v1/jobs", content=text.encode("latin-1"), headers=JSON)
    assert answer.status_code in (400, 422), answer.text
    refusal(answer, answer.status_code)
    assert untouched.get("/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    "changed",
    [
        '{"seed": NaN}',
        '{"seed": -Infinity}',
        '{"seed": 1e999}',
        '{"priority": 1' + "0" * 400 + "}",
        '{"search": {"trials": 99999999999999999999}}',
        '{"search": {"max_minutes": 1e308}}',
        '{"training": {"epochs": 9223372036854775808}}',
        '{"network": {"kind": "mlp", "widths": [1e400]}}',
    ],
)
def test_numbers_that_are_none_or_too_large_are_refused(untouched: TestClient, changed: str) -> None:
    job = json.dumps(TINY)[:-1] + ", " + changed[1:]  # of a field given twice the later holds
    answer = untouched.post("/api/v1/jobs", content=job, headers=JSON)
    refusal(answer, 422)
    assert untouched.get("/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    "asked",
    [
        {"q": "' OR '1'='1"},
        {"q": "%' UNION SELECT sha256 FROM api_keys --"},
        {"owner": "'; DROP TABLE jobs; --"},
        {"state": "queued' --"},
        {"cursor": "' OR 1=1"},
        {"cursor": "MSAn"},
        {"cursor": "bmFuIDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"},  # nan 000...
        {"limit": "9" * 400},
        {"limit": "-1"},
        {"q": "\0"},
    ],
    ids=str,
)
def test_words_in_filters_are_words(client: TestClient, asked: dict[str, str]) -> None:
    client.post("/api/v1/jobs", json=TINY)
    answer = client.get("/api/v1/jobs", params=asked)
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert answer.json()["items"] == []
    else:
        refusal(answer, 422)
    assert len(client.get("/api/v1/jobs").json()["items"]) == 1


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "files", "name": "../outside.csv"},
        {"kind": "files", "name": "..%2foutside.csv"},
        {"kind": "files", "name": "/etc/passwd"},
        {"kind": "files", "name": "link.csv"},
        {"kind": "files", "name": "http://127.0.0.1:1/x.csv"},
        {"kind": "files", "name": "a\0b"},
        {"kind": "openml", "dataset": "http://169.254.169.254/latest"},
        {"kind": "openml", "dataset": "../../etc/passwd"},
        {"kind": "openml", "dataset": "iris/../../x?y=http://evil.example"},
        {"kind": "openml", "dataset": "//evil.example"},
        {"kind": "openml", "dataset": "user@evil.example:80"},
        {"kind": "url", "name": "http://evil.example"},
    ],
    ids=lambda data: f"{data['kind']} {data.get('name') or data.get('dataset')!r}",
)
def test_no_place_of_the_callers_choosing_is_opened(
    sqlite: Settings, tmp_path: Path, data: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside.csv").write_text("secret,label\n1,2\n")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "outside.csv")

    def called(*_: Any, **__: Any) -> None:
        raise AssertionError("the server called out")

    settings = sqlite.model_copy(update={"data_dir": tmp_path / "data"})
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
        monkeypatch.setattr(socket.socket, "connect", called)
        answer = client.post("/api/v1/jobs", json=TINY | {"data": data})
        refusal(answer, 422)
        assert "secret" not in answer.text
        assert "root:" not in answer.text


@pytest.mark.parametrize(
    "path", ["/ui/static/../pages.py", "/ui/static/%2e%2e/pages.py", "/static/..%2f..%2fversion.py"]
)
def test_static_files_are_those_of_their_folder(untouched: TestClient, path: str) -> None:
    assert untouched.get(path).status_code in (403, 404)


class Wire:
    """Bytes to and from a real server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def send(self, *pieces: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        for piece in pieces:
            connection.sendall(piece)
        return connection

    def answer(self, connection: socket.socket) -> bytes:
        """Everything until the server closes the connection."""
        received = b""
        while piece := connection.recv(65536):
            received += piece
        connection.close()
        return received

    def is_well(self) -> bool:
        asked = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        return b"200 OK" in self.answer(self.send(asked))


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /api/v1/jobs HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


@pytest.fixture(scope="module")
def wire(upgraded_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    patience, connections.HEAD_WITHIN = connections.HEAD_WITHIN, 0.5
    app = create_app(Settings(state_dir=tmp_path_factory.mktemp("wire"), body_seconds=0.5))
    config = uvicorn.Config(app, http=connections.Impatient, log_config=None, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield Wire(listener.getsockname()[1])
        server.should_exit = True
        thread.join()
    connections.HEAD_WITHIN = patience


def test_a_body_that_trickles_is_given_up(wire: Wire) -> None:
    answer = wire.answer(wire.send(head("Content-Type: application/json", "Content-Length: 100"), b"{"))
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"application/problem+json" in answer
    assert b"did not come within 0.5 seconds" in answer
    assert wire.is_well()


@pytest.mark.parametrize("sent", [b"", b"GET /ui HT", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_headers_that_trickle_are_given_up(wire: Wire, sent: bytes) -> None:
    assert wire.answer(wire.send(sent)) == b""
    assert wire.is_well()


def test_a_gigabyte_is_refused_before_it_is_sent(wire: Wire) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = wire.answer(wire.send(head("Content-Type: application/json", f"Content-Length: {2**30}")))
    assert b" 413 " in answer.split(b"\r\n")[0]
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    connection = wire.send(head("Content-Type: application/json", "Transfer-Encoding: chunked"))
    sent = 0
    try:
        for _ in range(2**30 // 65536):
            connection.sendall(chunk)
            sent += 65536
    except OSError:  # the server has closed it
        pass
    connection.close()
    assert sent < 64 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert wire.is_well()


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 2", "Content-Length: 3"], b"{}"),
        (["Content-Length: 5x"], b"{}"),
        (["Content-Length: -1"], b"{}"),
        (["Transfer-Encoding: gzip"], b"{}"),
        (["Transfer-Encoding: chunked"], b"zz\r\n{}"),
        (["Content-Length: 2"], b"{}smuggled\r\n\r\n"),
        (["X: " + "a" * 70_000], b""),
        (["Expect: 200-maybe", "Content-Length: 2"], b"{}"),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else "",
)
def test_a_request_that_is_not_what_it_says_is_refused(wire: Wire, lines: list[str], body: bytes) -> None:
    connection = wire.send(head("Content-Type: application/json", "Connection: close", *lines))
    try:
        connection.sendall(body)
        answer = wire.answer(connection)
    except OSError:  # closed while we were still sending
        answer = b""
    assert not answer or answer.split(b" ", 2)[1][:1] == b"4", answer[:200]
    assert wire.is_well()


def test_neither_a_key_nor_a_password_is_ever_logged(
    sqlite: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keys.generate()
    elsewhere = "postgresql+psycopg://snas:hunter2@127.0.0.1:1/snas"
    with caplog.at_level(logging.DEBUG):
        unreachable = Settings(state_dir=tmp_path / "state", database_url=elsewhere)
        with pytest.raises(OperationalError) as failed:
            database.upgrade(unreachable)
        logging.getLogger("test").error("it does not answer", exc_info=failed.value)
        logging.getLogger("test").info("settings: %r %s", unreachable, database.engine(unreachable))
        secret = tmp_path / "secret"
        secret.write_text(first)
        settings = sqlite.model_copy(update={"first_key_file": secret})
        with TestClient(
            create_app(settings), base_url="http://127.0.0.1:8000", raise_server_exceptions=False
        ) as client:
            headers = {"Authorization": f"Bearer {first}"}
            client.get("/api/v1/jobs", headers=headers)
            client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {first[:-1]}"})
            client.post("/ui/login", data={"key": first})
            client.post("/ui/login", data={"key": first[:-1]})
            made = client.post("/api/v1/keys", headers=headers, json={"owner": "ada", "name": "x"}).json()["key"]
            monkeypatch.setattr("app.jobs.page", lambda *_, **__: 1 / 0)
            assert client.get("/api/v1/jobs", headers=headers).status_code == 500
    assert "does not answer" in caplog.text
    for word in ("hunter2", first.split("_")[2][:-1], made.split("_")[2]):
        assert word not in caplog.text
