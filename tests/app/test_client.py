"""The client against a small scripted server; the real one is met in test_serve.py and in the journeys."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import httpx2
import pytest

from app import client as module
from app.client import Client, Event, Refused, Unreachable

JOB = {"id": "a" * 32, "state": "running"}

Answer = Callable[[httpx2.Request], httpx2.Response]


def answering(answer: Answer) -> Client:
    return Client("http://127.0.0.1:1", transport=httpx2.MockTransport(answer))


def test_a_submission_carries_its_spec_and_idempotency_key() -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(201, json=JOB)

    with answering(answer) as client:
        assert client.submit({"name": "x"}, "key") == JOB
    [request] = seen
    assert (request.method, request.url.path) == ("POST", "/api/v1/jobs")
    assert request.headers["idempotency-key"] == "key"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"name": "x"}


def test_a_refusal_carries_the_problem_of_the_server() -> None:
    problem = {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "search.trials: 0 is not allowed",
        "errors": [{"field": "search.trials", "value": 0, "message": "0 is not allowed"}],
    }
    refusal = httpx2.Response(422, json=problem, headers={"content-type": "application/problem+json"})
    with answering(lambda _: refusal) as client, pytest.raises(Refused, match=r"search\.trials: 0") as caught:
        client.submit({})
    assert caught.value.problem == problem
    assert caught.value.status == 422
    assert caught.value.errors == problem["errors"]


def test_an_error_that_is_no_problem_json_is_told_in_its_own_words() -> None:
    with answering(lambda _: httpx2.Response(502, text="bad gateway of a proxy")) as client:
        with pytest.raises(Refused, match="bad gateway of a proxy") as caught:
            client.get("x")
    assert caught.value.status == 502


def test_no_server_is_unreachable_and_the_address_is_named() -> None:
    with Client("http://127.0.0.1:1") as client:
        assert not client.is_ready()
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1"):
            client.get("x")
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1"):
            list(client.events("x", patience=0))


def test_every_job_is_listed_over_all_pages() -> None:
    pages = {None: (["c", "b"], "next"), "next": (["a"], None)}

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.params["state"] == "queued"
        items, cursor = pages[request.url.params.get("cursor")]
        return httpx2.Response(200, json={"items": [{"id": each} for each in items], "next_cursor": cursor})

    with answering(answer) as client:
        assert [job["id"] for job in client.jobs(state="queued")] == ["c", "b", "a"]


class Script:
    """A server that tells events 1, 2, ... of a job, each connection cut after `per_connection` of them.

    ends  events at which the job ended, beside the last: more trials were asked of it afterwards
    """

    def __init__(self, last: int, per_connection: int, ends: tuple[int, ...] = ()) -> None:
        self.last, self.ends, self.told = last, (*ends, last), 0
        self.per_connection = per_connection
        self.asked: list[str | None] = []  # Last-Event-ID of each connection

    def stream(self, last_seen: str | None) -> tuple[bytes, bool]:
        """The bytes of one connection, and whether it is cut before its proper end."""
        self.asked.append(last_seen)
        first = int(last_seen or 0) + 1
        told = range(first, min(first + self.per_connection, self.last + 1))
        cut = self.last not in told
        self.told = told[-1]
        return b": ping\n\n" + b"".join(map(self._event, told)) + (b"id: 99\ndata: {" if cut else b""), cut

    def _event(self, seq: int) -> bytes:
        kind = "job.completed" if seq in self.ends else "run.epoch"
        data = {"at": "2026-01-01T00:00:00Z", "epoch": seq}
        return f"id: {seq}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def scripted() -> Iterator[Callable[[Script], str]]:
    servers: list[ThreadingHTTPServer] = []

    def start(script: Script) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if not self.path.endswith("/events"):
                    self._tell_job()
                    return
                body, cut = script.stream(self.headers["Last-Event-ID"])
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n" + (b"" if cut else b"0\r\n\r\n"))
                self.close_connection = True

            def _tell_job(self) -> None:
                over = script.told == script.last
                body = json.dumps({**JOB, "state": "completed" if over else "running"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_broken_stream_goes_on_after_the_last_event_seen(
    scripted: Callable[[Script], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_AFTER", 0.0)
    script = Script(last=7, per_connection=3)
    with Client(scripted(script)) as client:
        events = list(islice(client.events("x"), 8))
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert script.asked == [None, "3", "6"]
    assert events[0] == Event(1, "run.epoch", {"at": "2026-01-01T00:00:00Z", "epoch": 1})
    assert events[-1].ends_job


def test_a_job_that_was_asked_for_more_trials_is_followed_beyond_its_first_end(
    scripted: Callable[[Script], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECONNECT_AFTER", 0.0)
    with Client(scripted(Script(last=5, per_connection=2, ends=(2,)))) as client:
        assert [event.seq for event in client.events("x")] == [1, 2, 3, 4, 5]


def test_events_can_be_read_from_a_given_one_on(scripted: Callable[[Script], str]) -> None:
    script = Script(last=3, per_connection=3)
    with Client(scripted(script)) as client:
        assert [event.seq for event in client.events("x", after=1)] == [2, 3]


def test_a_stream_that_ends_in_good_order_is_over_with_the_job() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/events"):
            return httpx2.Response(200, text=": ping\n\n", headers={"content-type": "text/event-stream"})
        return httpx2.Response(200, json={**JOB, "state": "cancelled"})

    with answering(answer) as client:
        assert list(client.events("x", after=12)) == []


def test_the_events_of_an_unknown_job_are_refused() -> None:
    with answering(lambda _: httpx2.Response(404, text="nothing here")) as client, pytest.raises(Refused):
        list(client.events("x"))
