"""Where a list goes on: the place of its last row, opaque to whoever carries it."""

import base64
import binascii
import math
import re

_ID = re.compile(r"[0-9a-f]{32}")


class InvalidCursor(ValueError):
    """The cursor is not one that a list gave."""


def cursor(created: float, row_id: str) -> str:
    """Of a list that is sorted by time, then by id."""
    return base64.urlsafe_b64encode(f"{created!r} {row_id}".encode()).decode()


def place(given: str) -> tuple[float, str]:
    """(time, id) of the last row that was listed. Raises: InvalidCursor."""
    try:
        created, row_id = base64.urlsafe_b64decode(given.encode("ascii", "strict")).decode().split(" ")
        found = float(created), row_id
    except (ValueError, binascii.Error):
        found = math.nan, ""
    if not math.isfinite(found[0]) or not _ID.fullmatch(found[1]):  # a database may not even take them
        raise InvalidCursor(f"{given!r} is not a cursor that a list gave")
    return found
