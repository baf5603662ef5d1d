"""optuna-dashboard through our server: read in full, never written."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.client import Client

pytestmark = pytest.mark.browser

Job = dict[str, Any]


def test_the_page_of_a_job_leads_to_its_study_and_its_plots_are_drawn(page: Page, finished: Job) -> None:
    page.goto(finished["links"]["page"])
    page.get_by_role("link", name="Optuna study").click()
    page.wait_for_url(f"**{finished['links']['dashboard']}")
    expect(page.get_by_text("finished digits").first).to_be_visible()
    # Once the importances are there, their plot repeats the heading.
    expect(page.get_by_text("Hyperparameter Importance").first).to_be_visible()
    expect(page.locator(".js-plotly-plot .scatterlayer .trace, .js-plotly-plot canvas").first).to_be_attached()


def test_posts_and_deletes_through_the_dashboard_are_refused(page: Page, server: Client, finished: Job) -> None:
    study = finished["links"]["dashboard"].rsplit("/", 1)[1]
    before = page.request.get("/api/studies").json()
    assert [str(each["study_id"]) for each in before["study_summaries"]].count(study) == 1
    for answer in (
        page.request.post("/api/studies", data={"study_name": "mine", "directions": ["minimize"]}),
        page.request.delete(f"/api/studies/{study}"),
        page.request.post(f"/api/studies/{study}/rename", data={"study_name": "mine"}),
        page.request.put(f"/api/studies/{study}/note", data={"body": "x", "version": 1}),
    ):
        assert answer.status == 405
        assert answer.headers["content-type"] == "application/problem+json"
    assert page.request.get("/api/studies").json() == before
