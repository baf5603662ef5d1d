"""How the pages write numbers, times and settings for a reader."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NONE = "–"


def whole(value: float | None) -> str:
    """26620 -> 26,620"""
    return NONE if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """1234567 -> 1.23 M"""
    if value is None:
        return NONE
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if letter == 'k' else size):.3g} {letter}"
    return f"{value:,.0f}"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in [0, 1]: .8853 -> 88.53 %"""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def points(share: float | None) -> str:
    """A difference of shares, in percentage points: .0123 -> +1.23"""
    return NONE if share is None or not math.isfinite(share) else f"{100 * share:+.2f}".replace("-", "−")


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, or as many as asked."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def probability(p: float | None) -> str:
    if p is None:
        return NONE
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamp(seconds: float) -> str:
    """Without JavaScript; with it the page shows the reader's own time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def bound(text: str) -> str:
    """Keeps a number and its unit on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")


def network(setting: Mapping[str, Any]) -> str:
    """mlp 300-100"""
    sizes = [*setting.get("channels", ()), *setting.get("widths", setting.get("hidden", ()))]
    return " ".join([setting["kind"].replace("_", " "), "-".join(map(str, sizes))]).strip()


def data(setting: Mapping[str, Any]) -> str:
    """fashion-mnist (files)"""
    name = setting.get("name")
    return f"{name} ({setting['kind']})" if name is not None else str(setting["kind"])


def settings(chosen: Mapping[str, Any]) -> str:
    """rewiring set, optimizer lr 0.0512"""
    return ", ".join(f"{' '.join(path.split('.')[-2:])} {_setting(value)}" for path, value in chosen.items())


def _setting(value: Any) -> str:
    match value:
        case {"kind": kind, **further}:
            fields = [f"{name} {_setting(each)}" for name, each in further.items()]
            return " ".join([str(kind).replace("_", " "), *fields])
        case bool():
            return "yes" if value else "no"
        case float():
            return number(value, 3)
    return str(value)


FILTERS = (whole, short, percent, points, number, probability, duration, iso, stamp, bound, network, data, settings)
