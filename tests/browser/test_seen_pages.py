"""The pages in headless Chromium, over a real server."""

from typing import Any

import pytest
from live_jobs import FINISHED
from playwright.sync_api import Browser, Page, expect

from app.client import Client

pytestmark = pytest.mark.browser

Job = dict[str, Any]
PLOTS = ("plot-confirmation", "plot-pareto", "plot-densities", "plot-curves", "plot-egf")


def open_job(page: Page, job: Job) -> None:
    page.goto(job["links"]["page"])


def test_the_list_shows_both_jobs_and_leads_to_them(page: Page, finished: Job, running: Job) -> None:
    page.goto("/")
    expect(page).to_have_title("Jobs · SNAS")
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="finished digits")).to_contain_text("completed")
    expect(rows.filter(has_text="running digits")).to_contain_text("running")
    page.get_by_role("link", name="finished digits").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("finished digits")


def test_the_list_is_filtered(page: Page, finished: Job, running: Job) -> None:
    page.goto("/ui")
    page.get_by_label("State").select_option("completed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Name").fill("no such")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No job matches")).to_be_visible()


def test_the_page_of_a_finished_job_shows_the_report(page: Page, server: Client, finished: Job) -> None:
    report = server.report(finished["id"])
    open_job(page, finished)
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text(report["verdict"].split(":")[0])
    arms = page.get_by_role("region", name="Table of arms")
    for name, arm in report["confirmation"]["arms"].items():
        expect(arms.locator("tr").filter(has=page.get_by_role("rowheader", name=name, exact=True))).to_contain_text(
            f"{100 * arm['mean']:.2f} %"
        )
    expect(page.locator("#all-trials tbody tr")).to_have_count(8)
    expect(page.locator("#front tbody tr")).to_have_count(len(report["pareto"]))


def test_every_plot_is_drawn_with_every_point(page: Page, server: Client, finished: Job) -> None:
    report = server.report(finished["id"])
    open_job(page, finished)
    for plot in PLOTS:
        expect(page.locator(f"#{plot} .scatterlayer .trace").first).to_be_attached()
    seeds = sum(len(arm["accuracies"]) for arm in report["confirmation"]["arms"].values())
    arms = len(report["confirmation"]["arms"])
    expect(page.locator("#plot-confirmation .scatterlayer .point")).to_have_count(seeds + arms)
    expect(page.locator("#plot-curves .scatterlayer .trace")).to_have_count(8)
    chosen = {report["confirmation"]["winner"]["trial"]} - {None}
    expect(page.locator("#plot-pareto .scatterlayer .point")).to_have_count(8 + len(chosen))


def test_a_press_shows_another_measure(page: Page, finished: Job) -> None:
    open_job(page, finished)
    expect(page.locator("#plot-pareto .xtitle")).to_have_text("active weights")
    page.get_by_role("button", name="multiply-adds").click()
    expect(page.locator("#plot-pareto .xtitle")).to_have_text("multiply-adds per sample")
    expect(page.get_by_role("button", name="multiply-adds")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="loss").click()
    expect(page.locator("#plot-curves .ytitle")).to_have_text("loss")


def test_the_report_can_be_downloaded(page: Page, finished: Job) -> None:
    open_job(page, finished)
    with page.expect_download() as download:
        page.get_by_role("link", name="Report (JSON)").click()
    assert download.value.suggested_filename == f"{finished['id']}-report.json"


def test_the_page_of_a_running_job_moves_on_without_a_reload(page: Page, running: Job) -> None:
    open_job(page, running)
    expect(page.get_by_text("in training").first).to_be_visible()
    expect(page.locator("#plot-curves .scatterlayer .trace")).not_to_have_count(0)
    page.evaluate("window.still = 'the same document'")
    page.locator("#job-json summary").click()
    epoch = page.locator("#open-runs tbody td").nth(1)
    for _ in range(2):
        before = epoch.text_content()
        expect(epoch).not_to_have_text(str(before))
    assert page.evaluate("window.still") == "the same document"
    expect(page.locator("#job-json pre")).to_be_visible()
    expect(page.locator("#plot-curves.js-plotly-plot .scatterlayer .trace")).not_to_have_count(0)


def test_the_list_moves_on_without_a_reload(page: Page, server: Client, running: Job) -> None:
    page.goto("/ui")
    page.evaluate("window.still = 'the same document'")
    job = server.submit(FINISHED | {"name": "came later"})
    expect(page.get_by_role("link", name="came later")).to_be_visible()
    server.cancel(job["id"])
    assert page.evaluate("window.still") == "the same document"


def test_a_press_cancels_a_job_and_its_page_follows(page: Page, server: Client, running: Job) -> None:
    job = server.submit(FINISHED | {"name": "to be cancelled"})
    open_job(page, job)
    page.get_by_role("button", name="Cancel job").click()
    expect(page.get_by_role("heading", name="The job was cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel job")).to_have_count(0)
    assert server.get(job["id"])["state"] == "cancelled"


def test_without_javascript_the_page_holds_the_same_numbers(
    browser: Browser, server: Client, finished: Job, running: Job
) -> None:
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    page = context.new_page()
    open_job(page, finished)
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect(page.locator("#front")).to_be_visible()
    expect(page.locator("#plot-pareto")).not_to_be_visible()
    open_job(page, running)
    expect(page.get_by_role("button", name="Cancel job")).to_be_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_is_wider_than_its_window(page: Page, finished: Job, running: Job, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/ui", finished["links"]["page"], running["links"]["page"]):
        page.goto(path)
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_dark_page_has_light_text(browser: Browser, server: Client, finished: Job) -> None:
    context = browser.new_context(base_url=server.url, color_scheme="dark")
    page = context.new_page()
    open_job(page, finished)
    expect(page.locator("body")).to_have_css("color", "rgb(232, 237, 245)")
    expect(page.locator("#plot-pareto .xtitle")).to_have_css("fill", "rgb(170, 182, 200)")
    context.close()
