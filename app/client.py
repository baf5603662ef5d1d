"""A server's REST interface, from Python. Needs httpx2 alone: nothing of the search or of the server is imported."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
ENDED = ("completed", "failed", "cancelled")
REQUEST_TIMEOUT = 30.0  # seconds; loading a large data set happens while a job is submitted
SILENCE = 45.0  # seconds without a byte before a stream counts as broken; the server sends a ping every 15
RECONNECT_AFTER = 0.5  # seconds between two attempts

Job = dict[str, Any]


class Refused(Exception):
    """The server answered with an error; `problem` is its problem+json (RFC 9457)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        self.status = int(problem["status"])
        self.errors: list[dict[str, Any]] = list(problem.get("errors") or [])
        super().__init__(str(problem.get("detail") or problem["title"]))

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later: the server, or its database, is not able to answer now."""
        return self.status in (502, 503, 504, 507)


class Unreachable(Exception):
    """No server answers at this address."""


@dataclass(frozen=True)
class Event:
    """seq: its place in the order of all events; type: `job.running`, `run.epoch`, ...; data: with the time `at`."""

    seq: int
    type: str
    data: dict[str, Any]

    @property
    def ends_job(self) -> bool:
        return self.type in {f"job.{state}" for state in ENDED}


class Client:
    """One server. Every method raises Refused when the server says no, and Unreachable when there is none."""

    def __init__(self, url: str = DEFAULT_URL, transport: httpx2.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        # A proxy of the environment cannot reach this machine's own loopback.
        self._http = httpx2.Client(
            base_url=self.url, timeout=REQUEST_TIMEOUT, transport=transport, trust_env=not _is_loopback(url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def submit(self, spec: Mapping[str, Any], key: str | None = None) -> Job:
        """The new job, or the one that an earlier call with the same idempotency key and spec made."""
        return self._call("POST", "/jobs", json=spec, headers={"Idempotency-Key": key} if key else {})

    def page(
        self, limit: int = 20, cursor: str | None = None, state: str | None = None, text: str | None = None
    ) -> tuple[list[Job], str | None]:
        """Jobs, newest first, and the cursor of the next page; `text` is looked for in their names."""
        asked = {"limit": limit, "cursor": cursor, "state": state, "q": text}
        answer = self._call("GET", "/jobs", params={name: value for name, value in asked.items() if value is not None})
        return answer["items"], answer["next_cursor"]

    def jobs(self, state: str | None = None, text: str | None = None) -> Iterator[Job]:
        """Every job, newest first, page by page."""
        cursor: str | None = None
        while True:
            items, cursor = self.page(limit=100, cursor=cursor, state=state, text=text)
            yield from items
            if cursor is None:
                return

    def get(self, job_id: str) -> Job:
        return self._call("GET", f"/jobs/{job_id}")

    def trials(self, job_id: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._call("GET", f"/jobs/{job_id}/trials")["items"]
        return rows

    def report(self, job_id: str) -> dict[str, Any]:
        return self._call("GET", f"/jobs/{job_id}/report")

    def cancel(self, job_id: str) -> Job:
        return self._call("POST", f"/jobs/{job_id}/cancel")

    def is_ready(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == HTTPStatus.OK
        except httpx2.TransportError:
            return False

    def events(self, job_id: str, after: int | None = None, patience: float = 30.0) -> Iterator[Event]:
        """The events of a job, from `after` on, until the one that ends it.

        A broken connection is taken up again after the last event seen: none is lost, none comes twice.
        Raises Unreachable, or Refused as a server that cannot answer refuses, when no event and no connection came for
        `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                for event in self._stream(job_id, after):
                    yield event
                    if event.ends_job:
                        return
                    after, deadline = event.seq, time.monotonic() + patience
                # A stream that ends in good order has nothing more to tell, if the job is over.
                if self.get(job_id)["state"] in ENDED:
                    return
            except httpx2.ReadTimeout:
                deadline = time.monotonic() + patience  # the connection stood; only nothing came
            except Refused as error:
                if not error.may_pass or time.monotonic() > deadline:
                    raise
            except (httpx2.TransportError, Unreachable) as error:
                if time.monotonic() > deadline:
                    raise self._unreachable(error) from error
            time.sleep(RECONNECT_AFTER)

    def _stream(self, job_id: str, after: int | None) -> Iterator[Event]:
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        path = f"/api/v1/jobs/{job_id}/events"
        timeout = httpx2.Timeout(REQUEST_TIMEOUT, read=SILENCE)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.status_code != HTTPStatus.OK:
                response.read()
                raise _refused(response)
            for sent in httpx2.EventSource(response):
                if sent.id:
                    yield Event(int(sent.id), sent.event, json.loads(sent.data))

    def _call(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, f"/api/v1{path}", json=json, params=params, headers=headers)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _refused(response)
        answer: dict[str, Any] = response.json()
        return answer

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"no server answers at {self.url} ({error or type(error).__name__})")


def _refused(response: httpx2.Response) -> Refused:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        return Refused(response.json())
    # Not our server's: a proxy, or another program on this port.
    title = HTTPStatus(response.status_code).phrase
    return Refused(
        {"type": "about:blank", "title": title, "status": response.status_code, "detail": response.text[:500]}
    )


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    return host == "localhost" or host == "::1" or host.startswith("127.")
