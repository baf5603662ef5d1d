"""`.csv` tables: a line of column names, numeric features, one column of labels."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.data.arrays import LARGEST, Arrays
from models.data.refusal import DataError

if TYPE_CHECKING:
    from _csv import Reader


def read(path: Path, name: str, label: str) -> Arrays:
    """Every column but `label` is a feature. Raises: DataError, naming `name`, and the line and column meant."""
    if path.stat().st_size > LARGEST * 4:
        raise DataError(f"{name}: {path.stat().st_size:,} bytes; at most {LARGEST * 4:,} are read")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(csv.reader(file, strict=True), name, label)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8 ({error})") from None
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from None


def _read(lines: "Reader", name: str, label: str) -> Arrays:
    columns: list[str] = next(lines, [])
    if columns.count(label) != 1 or len(columns) < 2:
        raise DataError(
            f"data.label: {label!r} must name one column of {name}, besides the features; the columns are "
            f"{_shown(columns) or '(none: the file is empty)'}"
        )
    target = columns.index(label)
    features, labels = [], []
    for number, row in _rows(lines, name, len(columns)):
        labels.append(_label(row.pop(target), name, number))
        features.append(np.array([_number(each, name, number, at, columns, target) for at, each in enumerate(row)]))
    if not labels:
        raise DataError(f"{name}: there is no line of data below the column names")
    return Arrays(np.stack(features), np.array(labels))


def _rows(lines: "Reader", name: str, width: int) -> Iterator[tuple[int, list[str]]]:
    for row in lines:
        if row and len(row) != width:
            raise DataError(f"{name}: line {lines.line_num} has {len(row)} values, the first line {width}")
        if row:
            yield lines.line_num, row


def _label(text: str, name: str, line: int) -> str:
    if not text.strip():
        raise DataError(f"{name}: line {line} has no label")
    return text.strip()


def _number(text: str, name: str, line: int, at: int, columns: list[str], target: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        column = columns[at if at < target else at + 1]
        raise DataError(f"{name}: line {line}, column {column!r}: {text!r} is not a finite number")
    return value


def _shown(columns: list[str], most: int = 30) -> str:
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    return ", ".join(map(repr, columns[:most])) + more
