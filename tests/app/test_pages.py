"""The pages as a browser without JavaScript sees them."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from io import StringIO
from typing import Any

import pytest
from by_hand import Hand
from rich.console import Console
from sqlalchemy import update
from starlette.testclient import TestClient
from trained import TINY, begin_one

from app import database, events, pages, tables, words
from app.figures import _densities
from app.printing.report import result
from app.settings import Settings


class Page(HTMLParser):
    """The text of a page, and its elements as (tag, attributes)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(client: TestClient, path: str) -> Page:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    return Page(response.text)


def press(client: TestClient, link: str, button: str) -> Any:
    """The answer to a button of the page, which has to be there."""
    assert f"{link}/{button}" in [form["action"] for form in read(client, link).all("form")]
    return client.post(f"{link}/{button}", headers={"Origin": "http://127.0.0.1:8000"})


def job_link(client: TestClient) -> str:
    return str(client.get("/api/v1/jobs").json()["items"][0]["links"]["page"])


def figures(client: TestClient) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', client.get(job_link(client)).text)
    assert found is not None
    read: dict[str, Any] = json.loads(found[1])
    return read


@pytest.fixture
def hand(sqlite: Settings) -> Iterator[Hand]:
    db, storage = database.engine(sqlite), database.optuna_storage(sqlite)
    yield Hand(db, storage, "one")
    storage.remove_session()
    storage.engine.dispose()
    db.dispose()


def test_the_root_leads_to_the_jobs(untouched: TestClient) -> None:
    assert untouched.get("/").url.path == "/ui"


def test_an_empty_list_says_how_to_begin(untouched: TestClient) -> None:
    assert "snas submit" in read(untouched, "/ui").text


def test_the_list_shows_each_job_with_its_state_and_a_link(trained: TestClient) -> None:
    page = read(trained, "/ui")
    assert "tiny digits" in page.text
    assert "5 of 5 trials" in page.text
    assert {"class": "state completed"} in page.all("span")
    assert job_link(trained) in [link["href"] for link in page.all("a")]


def test_the_list_is_filtered_by_name_and_state_and_says_when_nothing_matches(trained: TestClient) -> None:
    assert "tiny digits" in read(trained, "/ui?q=TINY&state=completed").text
    assert "tiny digits" in read(trained, "/ui?q=&state=").text, "what an untouched form sends"
    for asked in ("q=nothing", "state=failed"):
        page = read(trained, f"/ui?{asked}")
        assert "tiny digits" not in page.text
        assert "No job matches" in page.text


def test_older_jobs_are_on_further_pages(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    for number in range(1, 4):
        client.post("/api/v1/jobs", json=TINY | {"name": f"job-{number}"})
    first = read(client, "/ui?q=job")
    assert "job-3" in first.text
    assert "job-1" not in first.text
    [older] = [link["href"] for link in first.all("a") if link.get("rel") == "next"]
    assert older is not None
    second = read(client, older)
    assert "job-1" in second.text
    assert "/ui?q=job" in [link["href"] for link in second.all("a")]


def test_the_page_of_a_completed_job_shows_verdict_arms_front_and_trials(trained: TestClient) -> None:
    page = read(trained, job_link(trained))
    report = trained.get(job_link(trained).replace("/ui", "/api/v1") + "/report").json()
    assert words.bound(report["verdict"]).split()[0] in page.text
    assert report["verdict"].split(":")[0] in page.text
    for arm in report["confirmation"]["arms"].values():
        assert words.percent(arm["mean"]) in page.text
        assert words.whole(arm["weights"]) in page.text
    for point in report["pareto"]:
        assert words.percent(point["accuracy"]) in page.text
    assert all(row["connections"][:10] in page.text for row in report["trials"])
    assert "Cancel job" not in page.text
    assert [form["action"] for form in page.all("form")] == [f"{job_link(trained)}/clone"]


def test_a_front_has_a_column_of_perplexity_where_a_text_was_learnt(
    trained: TestClient, client: TestClient, hand: Hand
) -> None:
    assert "Perplexity" not in read(trained, job_link(trained)).text
    report = trained.get(job_link(trained).replace("/ui", "/api/v1") + "/report").json()
    report["pareto"] = [point | {"perplexity": 5.4321} for point in report["pareto"]]
    job_id = client.post("/api/v1/jobs", json=TINY).json()["id"]
    with hand.db.begin() as connection:
        completed = {"state": "completed", "finished": 2.0, "report": report}
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(**completed))
    page = read(client, f"/ui/jobs/{job_id}")
    assert "Perplexity" in page.text
    assert page.text.count("5.432") == len(report["pareto"])
    console = Console(width=200, file=StringIO())
    console.print(result(report))
    assert "perplexity" in console.file.getvalue()
    assert console.file.getvalue().count("5.432") == len(report["pareto"])


def test_the_page_judges_early_gradient_flow(trained: TestClient) -> None:
    page = read(trained, job_link(trained))
    judged = trained.get(job_link(trained).replace("/ui", "/api/v1") + "/report").json()["egf_judged"]
    assert "over the 5 complete trials" in page.text
    assert "EGF₁" in page.text
    for tau in (*judged["early"].values(), *judged["whole"].values()):
        assert words.number(tau["loss"], 2) in page.text
        assert words.number(tau["accuracy"], 2) in page.text


def test_the_plots_get_the_numbers_of_the_report(trained: TestClient) -> None:
    report = trained.get(job_link(trained).replace("/ui", "/api/v1") + "/report").json()
    found = figures(trained)
    assert [point["accuracy"] for point in found["pareto"]["points"]] == [row["accuracy"] for row in report["trials"]]
    assert [point["number"] for point in found["pareto"]["points"] if point["front"]] == sorted(
        point["trial"] for point in report["pareto"]
    )
    assert found["densities"]["layers"] == ["fc1", "output"]
    assert found["densities"]["series"][0]["densities"] == report["confirmation"]["winner"]["densities"]
    assert [arm["values"] for arm in found["confirmation"]["arms"]] == [
        arm["accuracies"] for arm in report["confirmation"]["arms"].values()
    ]
    lines = {line["trial"]: line for line in found["curves"]["lines"]}
    for row in report["trials"]:
        assert lines[row["number"]]["egf_1"] == [epoch["egf_1"] for epoch in row["curves"]]


def test_the_page_of_a_running_job_shows_what_trains_and_where_its_events_are(client: TestClient, hand: Hand) -> None:
    client.post("/api/v1/jobs", json=TINY)
    hand.take()  # begun, and Optuna not yet asked
    begin_one(hand)
    page = read(client, job_link(client))
    assert "1 of 2" in page.text, "epochs"
    assert "2 in training" in page.text
    assert "asking" in page.text
    assert "Cancel job" in page.text
    [head] = [attributes for _, attributes in page.elements if "data-events" in attributes]
    assert head["data-events"] == f"{job_link(client).replace('/ui', '/api/v1')}/events?after={events.newest(hand.db)}"
    assert figures(client)["curves"]["lines"][0]["role"] == "training"


def test_settings_that_a_job_varies_are_shown_with_its_trials_and_arms(client: TestClient, hand: Hand) -> None:
    choices = {"rewiring": [{"kind": "static"}, {"kind": "set"}], "training.optimizer.lr": [0.0123, 0.0456]}
    search, confirm = TINY["search"] | {"choices": choices}, TINY["confirm"] | {"shortlist": 5}
    client.post("/api/v1/jobs", json=TINY | {"search": search, "confirm": confirm})
    hand.do_all()
    report = client.get(job_link(client).replace("/ui", "/api/v1") + "/report").json()
    page = read(client, job_link(client))
    assert {"class": "state completed"} in page.all("span")
    for shown in (*report["trials"], *report["confirmation"]["arms"].values()):
        assert words.settings(shown["settings"]) in page.text
    rates = [row["settings"]["training.optimizer.lr"] for row in report["confirmation"]["tuning"]]
    assert set(rates) == {0.0123, 0.0456}, "each dense arm tried both"


def test_the_button_cancels_and_leads_back(client: TestClient) -> None:
    client.post("/api/v1/jobs", json=TINY)
    link = job_link(client)
    answer = press(client, link, "cancel")
    assert answer.url.path == link
    assert "The job was cancelled" in answer.text
    assert client.post(f"{link}/cancel").status_code == 200, "pressed twice"


def test_the_buttons_pause_resume_and_clone(client: TestClient) -> None:
    client.post("/api/v1/jobs", json=TINY)
    link = job_link(client)
    paused = press(client, link, "pause")
    assert "The job is paused" in paused.text
    assert {"class": "state paused"} in Page(paused.text).all("span")
    assert client.post(f"{link}/pause").status_code == 200, "pressed twice"
    assert "The job is paused" not in press(client, link, "resume").text
    clone = press(client, link, "clone")
    assert clone.url.path == job_link(client) != link
    press(client, link, "cancel")
    assert [str(form["action"]) for form in read(client, link).all("form")] == [f"{link}/clone"]


def test_an_earlier_end_stays_on_the_page_of_a_job_with_more_trials(client: TestClient, hand: Hand) -> None:
    client.post("/api/v1/jobs", json=TINY)
    hand.do_all()
    link = job_link(client)
    [verdict] = [client.get(link.replace("/ui", "/api/v1") + "/report").json()["verdict"]]
    client.patch(link.replace("/ui", "/api/v1"), json={"trials": 7})
    page = read(client, link)
    assert "Completed with 5 trials" in page.text
    assert words.bound(verdict).split()[0] in page.text
    assert {"class": "state running"} in page.all("span")


def test_a_failed_trial_and_its_reason_are_shown(client: TestClient, hand: Hand) -> None:
    client.post("/api/v1/jobs", json=TINY)
    hand.do("failed")
    text = read(client, job_link(client)).text
    assert "1 failed" in text
    assert "it diverged" in text


def test_names_are_text_wherever_they_stand(client: TestClient) -> None:
    name = "</script><script>alert(1)</script>&\"'"
    client.post("/api/v1/jobs", json=TINY | {"name": name})
    for path in ("/ui", job_link(client), "/ui?q=%3Cscript%3E"):
        html = client.get(path).text
        assert "<script>alert" not in html
        assert name in Page(html).text


@pytest.mark.parametrize("place", ["list", "job"])
def test_a_page_runs_no_script_and_takes_no_style_but_ours(trained: TestClient, place: str) -> None:
    response = trained.get("/ui" if place == "list" else job_link(trained))
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert ("'unsafe-inline'" in policy) == (place == "job"), "Plotly sets styles on elements"
    assert policy.endswith("style-src 'self' 'unsafe-inline'" if place == "job" else "style-src 'self'")
    page = Page(response.text)
    for script in page.all("script"):
        assert script.get("type") == "application/json" or str(script["src"]).startswith("/ui/")
    assert not [attributes for _, attributes in page.elements if "style" in attributes or "onclick" in attributes]


def test_every_file_that_a_page_needs_is_there(trained: TestClient) -> None:
    page = read(trained, job_link(trained))
    needed = [script["src"] for script in page.all("script") if "src" in script]
    needed += [link["href"] for link in page.all("link")]
    for address in needed:
        assert address is not None
        assert trained.get(address).status_code == 200, address
    [plotly] = [address for address in needed if address and "plotly" in address]
    assert "immutable" in trained.get(plotly).headers["cache-control"]


def test_a_page_can_be_read_aloud(trained: TestClient) -> None:
    page = read(trained, job_link(trained))
    assert len(page.all("h1")) == 1
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    for _, attributes in page.elements:
        if attributes.get("role") in ("img", "region") or "aria-labelledby" in attributes:
            assert attributes.get("aria-label") or attributes["aria-labelledby"] in identities
    assert all(bar.get("aria-label") for bar in page.all("progress"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (words.whole(26620), "26,620"),
        (words.whole(None), "–"),
        (words.short(1_234_567), "1.23 M"),
        (words.short(646), "646"),
        (words.percent(0.8853), "88.53 %"),
        (words.percent(float("nan")), "–"),
        (words.points(-0.0123), "−1.23"),
        (words.probability(0.00001), "< 0.0001"),
        (words.duration(9.96), "10.0 s"),
        (words.duration(59.7), "1 min 0 s"),
        (words.duration(3725), "1 h 2 min"),
        (words.network({"kind": "mlp", "widths": [300, 100]}), "mlp 300-100"),
        (words.data({"kind": "files", "name": "fashion-mnist"}), "fashion-mnist (files)"),
        (
            words.settings(
                {
                    "rewiring": {"kind": "set", "fraction": 0.2},
                    "network.batch_norm": True,
                    "network.activation": "silu",
                    "training.optimizer.lr": 0.051234,
                }
            ),
            "rewiring set fraction 0.2, network batch_norm yes, network activation silu, optimizer lr 0.0512",
        ),
    ],
)
def test_numbers_are_written_for_a_reader(written: str, expected: str) -> None:
    assert written == expected


def test_a_layer_of_a_block_that_is_switched_off_is_a_gap_in_the_plot() -> None:
    layers = [{"name": name} for name in ("block1", "output")]
    point = {"trial": 1, "accuracy": 0.5, "densities": [0.0, 0.3]}
    report = {"job": {"problem": {"layers": layers}}, "confirmation": None, "pareto": [point], "trials": []}
    drawn = _densities(report)
    assert drawn is not None
    assert drawn["series"][0]["densities"] == [None, 0.3]
