"""A server's REST interface, from Python. Needs httpx2 alone: nothing of the search or of the server is imported."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx2

KEY_VARIABLE = "SNAS_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
ENDED = ("completed", "failed", "cancelled")
REQUEST_TIMEOUT = 30.0  # seconds; loading a large data set happens while a job is submitted
SILENCE = 45.0  # seconds without a byte before a stream counts as broken; the server sends a ping every 15
RECONNECT_AFTER = 0.5  # seconds between two attempts

UPLOAD_TIMEOUT = 600.0  # seconds; what was sent is stored before the answer
PIECE = 256 * 1024  # bytes

Job = dict[str, Any]
Dataset = dict[str, Any]


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
    """One server. Every method raises Refused when the server says no, and Unreachable when there is none.

    key  an API key; without one that of $SNAS_API_KEY, where it is set
    """

    def __init__(
        self, url: str = DEFAULT_URL, transport: httpx2.BaseTransport | None = None, key: str | None = None
    ) -> None:
        self.url = url.rstrip("/")
        key = key or os.environ.get(KEY_VARIABLE)
        # A proxy of the environment cannot reach this machine's own loopback.
        self._http = httpx2.Client(
            base_url=self.url,
            timeout=REQUEST_TIMEOUT,
            transport=transport,
            trust_env=not _is_loopback(url),
            headers={"Authorization": f"Bearer {key.strip()}"} if key else {},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def submit(self, spec: Mapping[str, Any], key: str | None = None) -> Job:
        """The new job, or the one that an earlier call with the same idempotency key and spec made."""
        return self._call("POST", "/jobs", json=spec, headers={"Idempotency-Key": key} if key else {})

    def page(
        self,
        limit: int = 20,
        cursor: str | None = None,
        state: str | None = None,
        text: str | None = None,
        owner: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """Jobs, newest first, and the cursor of the next page; `text` is looked for in their names."""
        asked = {"limit": limit, "cursor": cursor, "state": state, "q": text, "owner": owner}
        answer = self._call("GET", "/jobs", params=_given(asked))
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

    def pause(self, job_id: str) -> Job:
        return self._call("POST", f"/jobs/{job_id}/pause")

    def resume(self, job_id: str) -> Job:
        return self._call("POST", f"/jobs/{job_id}/resume")

    def clone(self, job_id: str, changes: Mapping[str, Any] | None = None, key: str | None = None) -> Job:
        """A new job like this one, these fields of its spec changed."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._call("POST", f"/jobs/{job_id}/clone", json=changes or {}, headers=headers)

    def change(self, job_id: str, changes: Mapping[str, Any]) -> Job:
        """changes: of `priority`, `max_parallel`, `trials`."""
        return self._call("PATCH", f"/jobs/{job_id}", json=changes)

    def share(self, job_id: str, shared: bool = True) -> Job:
        return self._call("POST", f"/jobs/{job_id}/{'share' if shared else 'unshare'}")

    def create_key(self, owner: str, scope: str, name: str, days: int | None = None) -> dict[str, Any]:
        """A new key; its text is in `key`, here alone."""
        return self._call("POST", "/keys", json={"owner": owner, "scope": scope, "name": name, "days": days})

    def api_keys(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self._call("GET", "/keys")["items"]
        return listed

    def revoke_key(self, prefix: str) -> dict[str, Any]:
        return self._call("POST", f"/keys/{prefix}/revoke")

    def audit(
        self, limit: int = 100, cursor: int | None = None, owner: str | None = None, action: str | None = None
    ) -> tuple[list[dict[str, Any]], int | None]:
        """Entries of the audit log, newest first, and the cursor of the next page."""
        asked = {"limit": limit, "cursor": cursor, "owner": owner, "action": action}
        answer = self._call("GET", "/audit", params=_given(asked))
        return answer["items"], answer["next_cursor"]

    def upload(
        self, name: str, file: BinaryIO, size: int, label: str = "label", sent: Callable[[int], None] = lambda _: None
    ) -> Dataset:
        """The new data set, or the one of this name that has the same file already.

        size   bytes that are left in the file
        label  the target column, of a table
        sent   called with the bytes sent so far
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        asked = {"name": name, "label": label}
        timeout = httpx2.Timeout(REQUEST_TIMEOUT, read=UPLOAD_TIMEOUT)
        return self._call(
            "POST", "/datasets", params=asked, headers=headers, content=_pieces(file, sent), timeout=timeout
        )

    def datasets(self) -> Iterator[Dataset]:
        """Every data set, newest first, page by page."""
        asked: dict[str, Any] = {"limit": 100}
        while True:
            answer = self._call("GET", "/datasets", params=asked)
            yield from answer["items"]
            if answer["next_cursor"] is None:
                return
            asked["cursor"] = answer["next_cursor"]

    def dataset(self, dataset_id: str) -> Dataset:
        return self._call("GET", f"/datasets/{dataset_id}")

    def delete_dataset(self, dataset_id: str) -> None:
        self._request("DELETE", f"/datasets/{dataset_id}")

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
                    if event.ends_job and self.get(job_id)["state"] in ENDED:
                        return  # else it was asked for more trials since
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

    def _call(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(method, path, **given).json()
        return answer

    def _request(self, method: str, path: str, **given: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, f"/api/v1{path}", **given)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _refused(response)
        return response

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"no server answers at {self.url} ({error or type(error).__name__})")


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _pieces(file: BinaryIO, sent: Callable[[int], None]) -> Iterator[bytes]:
    total = 0
    while piece := file.read(PIECE):
        yield piece
        total += len(piece)
        sent(total)


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
