"""Log lines for people and for collectors."""

import io
import json
import logging

import pytest

from app import logs
from app.claims import Claim

CLAIM = Claim("run1", "0123456789abcdef", "search", 7, 2, "worker", None, None)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """What one process writes in a form."""
    root = logging.getLogger()

    def configured(form: str) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(root, "handlers", [])  # pytest's, which it puts there for each phase of a test
        monkeypatch.setattr(root, "level", logging.INFO)
        logs.configure("worker", form)
        return stream

    return configured


def test_a_json_line_is_one_object_that_names_its_run(line) -> None:  # type: ignore[no-untyped-def]
    stream = line("json")
    with logs.about(CLAIM):
        logging.getLogger("app.worker").warning("it %s\nand again", "died")
    logging.getLogger("app.worker").info("later")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "it died\nand again"
    assert (first["job"], first["stage"], first["ordinal"], first["attempt"]) == ("0123456789abcdef", "search", 7, 2)
    assert (first["level"], first["role"]) == ("WARNING", "worker")
    assert "job" not in second


def test_a_traceback_stays_within_its_line(line) -> None:  # type: ignore[no-untyped-def]
    stream = line("json")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("app").exception("it failed")
    (only,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(only)["traceback"]


def test_a_text_line_ends_with_its_run(line) -> None:  # type: ignore[no-untyped-def]
    stream = line("text")
    with logs.about(CLAIM):
        logging.getLogger("app.worker").info("begun")
    assert stream.getvalue().endswith("INFO app.worker: begun [job 01234567 search 7]\n")
