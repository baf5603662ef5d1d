"""Where a list goes on: the place of its last row, opaque to whoever carries it."""

import base64
import binascii


class InvalidCursor(ValueError):
    """The cursor is not one that a list gave."""


def cursor(created: float, row_id: str) -> str:
    """Of a list that is sorted by time, then by id."""
    return base64.urlsafe_b64encode(f"{created!r} {row_id}".encode()).decode()


def place(given: str) -> tuple[float, str]:
    """(time, id) of the last row that was listed. Raises: InvalidCursor."""
    try:
        created, row_id = base64.urlsafe_b64decode(given.encode("ascii", "strict")).decode().split(" ")
        return float(created), row_id
    except (ValueError, binascii.Error):
        raise InvalidCursor(f"{given!r} is not a cursor that a list gave") from None
