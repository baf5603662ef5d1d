"""How the pages write numbers, times and settings for a reader."""

import math
from collections.abc import Mapping, Sequence
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


def size(count: float) -> str:
    """Bytes: 1536 -> 1.5 KiB"""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def shape(sizes: Sequence[int] | None) -> str:
    """[3, 32, 32] -> 3 × 32 × 32"""
    return NONE if sizes is None else " × ".join(map(str, sizes))


def preview(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is in a data set, line by line."""
    test = "" if found["test"] is None else f", and {whole(found['test'])} in a test part of their own"
    counted = [f"{name} ({count:,})" for name, count in zip(found["labels"], found["counts"], strict=True)]
    more = found["classes"] - len(counted)
    lines = [
        ("samples", f"{whole(found['samples'])}{test}"),
        ("shape", f"{shape(found['shape'])}, {found['dtype']}"),
        ("range", f"{number(found['min'])} to {number(found['max'])}"),
        ("classes", f"{found['classes']:,}: {', '.join(counted)}{f' and {more:,} more' if more else ''}"),
        ("rarest", f"{whole(found['smallest'])} samples"),
    ]
    if found["constant"]:
        at = ", ".join(map(str, found["constant_at"]))
        others = ", ..." if found["constant"] > len(found["constant_at"]) else ""
        lines.append(("constant", f"{whole(found['constant'])} features, counted from 0: {at}{others}"))
    return lines


FILTERS = (
    whole,
    short,
    percent,
    points,
    number,
    probability,
    duration,
    iso,
    stamp,
    bound,
    network,
    data,
    settings,
    size,
    shape,
    preview,
)
