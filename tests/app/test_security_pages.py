"""A browser's login: sessions, CSRF, and names that would like to be scripts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from keyed import URL, Keyed, keyed
from starlette.testclient import TestClient
from trained import TINY

from app.settings import Settings

OWN = {"Origin": URL, "Sec-Fetch-Site": "same-origin"}
SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def server(sqlite: Settings) -> Iterator[Keyed]:
    with keyed(sqlite) as made:
        yield made


def log_in(server: Keyed, holder: str, wanted: str = "/ui") -> TestClient:
    client = TestClient(server.client.app, base_url=URL, follow_redirects=False)
    answer = client.post("/ui/login", data={"key": server.keys[holder], "next": wanted}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, wanted)
    return client


def token(client: TestClient, path: str = "/ui") -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get(path).text)
    assert found is not None
    return found[1]


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def test_a_key_opens_a_session_in_a_cookie_that_no_script_and_no_other_site_can_use(server: Keyed) -> None:
    answer = server.client.post("/ui/login", data={"key": server.keys["ada"]}, headers=OWN, follow_redirects=False)
    flags = set(answer.headers["set-cookie"].partition("; ")[2].split("; "))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= flags
    assert "Secure" not in flags
    assert server.keys["ada"] not in str(answer.headers)
    secure = TestClient(server.client.app, base_url="https://127.0.0.1:8000", follow_redirects=False)
    answer = secure.post("/ui/login", data={"key": server.keys["ada"]})
    assert "Secure" in answer.headers["set-cookie"].split("; ")


def test_a_page_without_a_session_leads_to_the_login_and_from_there_back(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    stranger = TestClient(server.client.app, base_url=URL, follow_redirects=False)
    to_login = stranger.get(f"/ui/jobs/{job}?x=1").headers["location"]
    page = stranger.get(to_login)
    assert page.status_code == 200
    assert f'name="next" value="/ui/jobs/{job}?x=1"' in page.text
    client = log_in(server, "ada", f"/ui/jobs/{job}")
    assert "tiny digits" in client.get(f"/ui/jobs/{job}").text
    assert client.get("/ui/login?next=/ui").status_code == 303, "who is logged in need not log in"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/ui",
        "/\\evil.example",
        "/ui\\..\\",
        "javascript:alert(1)",
        "/uix",
        "/ui\r\nX: y",
    ],
)
def test_a_login_leads_to_no_other_place(server: Keyed, wanted: str) -> None:
    client = TestClient(server.client.app, base_url=URL, follow_redirects=False)
    answer = client.post("/ui/login", data={"key": server.keys["ada"], "next": wanted}, headers=OWN)
    assert answer.headers["location"] == "/ui"
    assert wanted not in TestClient(server.client.app, base_url=URL).get("/ui/login", params={"next": wanted}).text


@pytest.mark.parametrize("given", [{"key": "snas_00000000_" + "0" * 64}, {"key": ""}, {}, {"key": SCRIPT}])
def test_a_wrong_key_opens_nothing_and_is_noted(server: Keyed, given: dict[str, str]) -> None:
    answer = server.client.post("/ui/login", data=given, headers=OWN)
    assert answer.status_code == 401
    assert "unknown, expired or revoked" in answer.text
    assert "set-cookie" not in answer.headers
    assert "alert(1)" not in answer.text
    assert server.audited()[-1] == (None, "login.failed", None)


def test_a_session_ends_with_the_logout_and_with_its_key(server: Keyed) -> None:
    client, other = log_in(server, "ada"), log_in(server, "ada")
    stolen = client.cookies["snas_session"]
    assert client.post("/ui/logout", data={"csrf": token(client)}, headers=OWN).status_code == 303
    client.cookies.set("snas_session", stolen)
    assert client.get("/ui").status_code == 303
    assert other.get("/ui").status_code == 200
    prefix = server.keys["ada"].split("_")[1]
    server.ask("root", "POST", f"/api/v1/keys/{prefix}/revoke")
    assert other.get("/ui").status_code == 303
    assert refusal(other.get("/api/v1/jobs"), 401)
    assert [(who, what) for who, what, _ in server.audited(owner="ada")] == [
        ("ada", "login.ok"),
        ("ada", "login.ok"),
        ("ada", "logout"),
    ]


@pytest.mark.parametrize("cookie", ["x", "", "\x7f", "a" * 5000, "snas_session", '"', "Ã©"])
def test_a_made_up_cookie_is_no_session(server: Keyed, cookie: str) -> None:
    stranger = TestClient(server.client.app, base_url=URL, follow_redirects=False)
    headers = {"Cookie": f"snas_session={cookie}".encode("latin-1")}
    assert stranger.get("/ui", headers=headers).status_code == 303  # type: ignore[arg-type]
    refusal(stranger.get("/api/v1/jobs", headers=headers), 401)  # type: ignore[arg-type]


def test_every_form_of_the_pages_carries_the_token_of_its_session(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    client = log_in(server, "ada")
    for path in ("/ui", f"/ui/jobs/{job}"):
        forms = re.findall(r'<form[^>]*method="post".*?</form>', client.get(path).text, re.DOTALL)
        assert forms
        assert all('name="csrf"' in form for form in forms)


@pytest.mark.parametrize("forged", ["nothing", "empty", "wrong", "of another session", "no form"])
def test_a_form_without_the_token_of_the_session_changes_nothing(server: Keyed, forged: str) -> None:
    job = server.submit("ada", TINY)
    client = log_in(server, "ada")
    address = f"/ui/jobs/{job}/cancel"
    given: dict[str, Any] = {
        "nothing": {},
        "empty": {"data": {"csrf": ""}},
        "wrong": {"data": {"csrf": "0" * 64}},
        "of another session": {"data": {"csrf": token(log_in(server, "ada"))}},
        "no form": {"content": b"\xff%00&&==;", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    }[forged]
    assert "not of this session" in refusal(client.post(address, **given), 403)
    assert "not of this session" in refusal(client.post(f"/api/v1/jobs/{job}/cancel"), 403)
    assert server.get("ada", f"/api/v1/jobs/{job}").json()["state"] == "queued"


def test_the_token_of_the_session_cancels_and_shares_from_our_own_pages_alone(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    client = log_in(server, "ada")
    good = {"csrf": token(client, f"/ui/jobs/{job}")}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert client.post(f"/ui/jobs/{job}/cancel", data=good, headers=headers).status_code in (400, 403)
    assert server.get("ada", f"/api/v1/jobs/{job}").json()["state"] == "queued"
    assert client.post(f"/ui/jobs/{job}/share", data=good, headers=OWN).status_code == 303
    his = log_in(server, "bob")
    page = his.get(f"/ui/jobs/{job}").text
    assert "of ada" in page
    assert "Cancel job" not in page
    refusal(his.post(f"/ui/jobs/{job}/cancel", data={"csrf": token(his)}, headers=OWN), 403)
    assert client.post(f"/ui/jobs/{job}/cancel", data=good, headers=OWN).status_code == 303
    assert server.get("ada", f"/api/v1/jobs/{job}").json()["state"] == "cancelled"


def test_a_script_of_our_own_page_may_send_the_token_as_a_header(server: Keyed) -> None:
    job = server.submit("ada", TINY)
    client = log_in(server, "ada")
    answer = client.post(f"/api/v1/jobs/{job}/cancel", headers=OWN | {"X-CSRF-Token": token(client)})
    assert answer.status_code == 202


def test_names_that_would_be_scripts_are_text(server: Keyed) -> None:
    job = server.submit("ada", TINY | {"name": SCRIPT})
    made = server.ask("root", "POST", "/api/v1/keys", json={"owner": SCRIPT, "name": SCRIPT}).json()
    server.keys["evil"] = made["key"]
    theirs = server.submit("evil", TINY)
    client, admin = log_in(server, "ada"), log_in(server, "root")
    pages = [client.get("/ui"), client.get(f"/ui/jobs/{job}"), client.get("/ui", params={"q": SCRIPT})]
    pages += [admin.get("/ui"), admin.get(f"/ui/jobs/{theirs}"), log_in(server, "evil").get("/ui")]
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "&lt;script&gt;alert" in pages[0].text


def test_an_open_server_has_no_login(client: TestClient) -> None:
    assert client.get("/ui/login", follow_redirects=False).headers["location"] == "/ui"
    page = client.get("/ui").text
    assert "Log out" not in page
    assert "csrf" not in page
