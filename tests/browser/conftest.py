"""A real server with a worker, a finished job and a running one, seen through a real browser."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_jobs import FINISHED, RUNNING
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from app.client import Client
from app.state import Address

CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STARTS_WITHIN = 120  # seconds
DESK = ViewportSize(width=1280, height=900)

expect.set_options(timeout=60_000)  # milliseconds: how long a busy machine may take to draw something


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    state = tmp_path_factory.mktemp("browser") / "state"
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--workers", "1", "--state", str(state)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        with Client(_address(process, state).url) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def _address(process: subprocess.Popen[bytes], state: Path) -> Address:
    for _ in range(STARTS_WITHIN * 5):
        if (address := Address.read(state)) is not None:
            return address
        try:
            pytest.fail(f"the server ended with code {process.wait(0.2)}")
        except subprocess.TimeoutExpired:
            continue
    pytest.fail("the server did not start")


@pytest.fixture(scope="session")
def finished(server: Client) -> dict[str, Any]:
    return _follow(server, FINISHED, lambda event: event.ends_job)


@pytest.fixture(scope="session")
def running(server: Client, finished: dict[str, Any]) -> dict[str, Any]:
    """A job in the middle of its first trial; the server has one worker, which stays busy with it."""
    return _follow(server, RUNNING, lambda event: event.type == "run.epoch")


def _follow(server: Client, spec: dict[str, Any], enough: Callable[[Any], bool]) -> dict[str, Any]:
    job = server.submit(spec)
    next(event for event in server.events(job["id"], patience=300) if enough(event))
    return server.get(job["id"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "the browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser, server: Client) -> Iterator[Page]:
    """A window on the server; the test fails if anything was complained of on its console."""
    context = browser.new_context(base_url=server.url, viewport=DESK)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []
