"""What goes wrong, said on stderr without a traceback."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.cli.specfile import InvalidFile
from app.client import Refused, Unreachable
from app.local import ServerDied
from app.state import Occupied

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells write it


@contextmanager
def report_failures() -> Iterator[None]:
    """Turns the failures that a user can act on into a message and an exit code."""
    try:
        yield
    except InvalidFile as error:
        say(str(error), error.errors)
        sys.exit(BAD_INPUT)
    except Refused as error:
        say(str(error) if not error.errors else "the server refused this", error.errors)
        if error.status == 401:
            print("  set SNAS_API_KEY, or give --key-file", file=sys.stderr)
        sys.exit(BAD_INPUT if error.status in (400, 404, 413, 422) else FAILED)
    except (Unreachable, ServerDied, Occupied) as error:
        say(str(error))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def say(message: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
    print(f"error: {message}", file=sys.stderr)
    for each in errors:
        print(f"  {each['field']}: {each['message']}{_given(each)}", file=sys.stderr)


def _given(error: Mapping[str, Any]) -> str:
    # Most messages quote the value already.
    value = error.get("value")
    if value is None or isinstance(value, Mapping | list) or str(value) in error["message"]:
        return ""
    return f" (given: {json.dumps(value)})"
