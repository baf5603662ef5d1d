"""Keys, and the audit log."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from app.printing.tables import Whole, table


def keys_table(keys: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not keys:
        return Text("no keys: this server asks for none")
    shown = table("prefix", "owner", "scope", "name", "created", "expires", "last used", "")
    for key in keys:
        shown.add_row(
            key["prefix"],
            Text(key["owner"]),
            key["scope"],
            Text(key["name"]),
            *(_day(key[name]) for name in ("created", "expires", "last_used")),
            Text("revoked", style="red") if key["revoked"] else "",
        )
    return Whole(shown)


def audit_table(entries: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not entries:
        return Text("nothing yet")
    shown = table(">number", "at", "owner", "key", "action", "target", "from", "")
    for entry in entries:
        shown.add_row(
            str(entry["seq"]),
            _moment(entry["at"]),
            Text(entry["owner"] or ""),
            entry["key"] or "",
            entry["action"],
            Text(entry["target"] or ""),
            entry["address"] or "",
            Text(", ".join(f"{name} {value}" for name, value in entry["detail"].items())),
        )
    return Whole(shown)


def _moment(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _day(text: str | None) -> str:
    return "" if text is None else datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d")
