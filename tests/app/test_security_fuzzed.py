"""Every route of the OpenAPI document, asked by schemathesis what it documents and what it does not."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from keyed import keyed
from starlette.testclient import TestClient
from trained import TINY

from app.main import create_app
from app.problems import MEDIA_TYPE
from app.settings import Settings

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)
ASKED = {"requests_per_minute": 10**9, "allowed_hosts": ("testserver",)}  # the name that schemathesis calls it by
STREAM = "/events$"  # of a job that waits it has no end


@pytest.fixture(autouse=True)
def _without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", unreachable)


def fuzz(
    app: Any, headers: dict[str, str], examples: int, steps: int, without: str = STREAM, checks: Sequence[str] = CHECKS
) -> Counter[int]:
    """Asks in all phases: examples, coverage, fuzzing, stateful. Asserts that nothing is wrong; counts the answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of schemathesis' own imports
        import schemathesis
        from schemathesis.config import SchemathesisConfig
        from schemathesis.engine import events, from_schema

    asked = {
        "seed": 1,
        "headers": headers,
        "continue-on-failure": True,
        "generation": {"max-examples": examples, "database": "none"},
        "checks": {"enabled": False, **{name: {"enabled": True} for name in checks}},
        "phases": {"stateful": {"max-steps": steps}},
    }
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json", app, config=SchemathesisConfig.from_dict(asked), headers=headers
    )
    schema = schema.exclude(path_regex=without)
    found: set[str] = set()
    answers: Counter[int] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.add(str(getattr(event, "info", None) or event))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case, done in event.recorder.checks.items():
            request = event.recorder.interactions[case].request
            for check in done:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    found.add(f"{check.name}: {request.method} {request.uri}: {failure.title}: {failure.message[:300]}")
        for interaction in event.recorder.interactions.values():
            if interaction.response is None:
                continue
            status = interaction.response.status_code
            answers[status] += 1
            kind = interaction.response.headers.get("content-type", [""])[0]
            if status >= 400 and kind != MEDIA_TYPE:
                found.add(f"{status} as {kind}: {interaction.request.method} {interaction.request.uri}")
    assert not found, "\n".join(sorted(found))
    return answers


def fuzz_with_keys(settings: Settings, examples: int, steps: int) -> Counter[int]:
    with keyed(settings.model_copy(update=ASKED)) as server:
        server.submit("root", TINY)
        server.submit("ada", TINY)
        return fuzz(server.client.app, server.headers("root"), examples, steps)


def fuzz_open(settings: Settings, examples: int, steps: int) -> Counter[int]:
    app = create_app(settings.model_copy(update=ASKED))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        client.post("/api/v1/jobs", json=TINY)
        # The first key that is made would close the server to all that follows.
        open_to_all = [check for check in CHECKS if check != "ignored_auth"]
        return fuzz(app, {}, examples, steps, f"{STREAM}|/keys", open_to_all)


@pytest.mark.slow
def test_no_request_finds_a_fault_or_an_undocumented_answer(sqlite: Settings) -> None:
    answers = fuzz_with_keys(sqlite, examples=1, steps=2)
    assert {200, 401, 404, 422} <= set(answers)


@pytest.mark.slow
@pytest.mark.parametrize("ask", [fuzz_open, fuzz_with_keys])
def test_no_request_of_thousands_finds_one(store: Settings, ask: Any) -> None:
    answers = ask(store, examples=60, steps=6)
    print(f"\n{sum(answers.values())} answers: {dict(sorted(answers.items()))}")
    assert {200, 404, 422} <= set(answers)
