"""What a page of another origin, open in the same browser, can do to the server: nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from app.client import Client

pytestmark = pytest.mark.browser

Job = dict[str, Any]
EVIL = "http://evil.example/"


@pytest.fixture
def evil(browser: Browser) -> Iterator[Page]:
    """A page of another site; its name is answered here, no network is asked."""
    context = browser.new_context()
    page = context.new_page()

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="text/html", body="<!doctype html><title>evil</title>")

    page.route(f"{EVIL}**", answer)
    page.goto(EVIL)
    yield page
    context.close()


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
def test_it_cannot_submit_a_job(evil: Page, server: Client, kind: str) -> None:
    before = list(server.jobs())
    evil.evaluate(
        """([url, kind]) => fetch(url, {method: "POST", mode: "no-cors", headers: {"Content-Type": kind},
           body: '{"name": "evil", "data": {"kind": "bundled", "name": "digits"}}'}).catch(() => {})""",
        [f"{server.url}/api/v1/jobs", kind],
    )
    assert len(list(server.jobs())) == len(before)


def test_its_forms_cannot_cancel_a_job(evil: Page, server: Client, running: Job) -> None:
    address = f"{server.url}{running['links']['page']}/cancel"
    with evil.expect_response(address) as answered:
        evil.evaluate(
            """(url) => { const form = document.createElement("form"); form.method = "post"; form.action = url;
               document.body.append(form); form.submit(); }""",
            address,
        )
    assert answered.value.status == 403
    assert server.get(running["id"])["state"] == "running"


def test_it_can_neither_read_nor_frame_the_pages(evil: Page, server: Client) -> None:
    read = evil.evaluate(
        "(url) => fetch(url).then((r) => r.text()).catch((e) => 'refused')", f"{server.url}/api/v1/jobs"
    )
    assert read == "refused"
    policy = evil.request.get(f"{server.url}/ui").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
