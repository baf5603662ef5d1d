"""`.csv` tables: a line of column names, numeric features, one column of labels."""

import csv
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from models.data.arrays import LARGEST, Arrays
from models.data.refusal import DataError

if TYPE_CHECKING:
    from _csv import Reader


LONGEST_LINE = 2**24  # characters; Python's reader takes a line in whole, however long
MOST_COLUMNS = 2**18  # an image of 224 x 224 in three colours has 150,528
LONGEST_LABEL = 200  # characters; every label of an array takes as much memory as the longest


def read(path: Path, name: str, label: str, most: int = LARGEST) -> Arrays:
    """Every column but `label` is a feature. Raises: DataError, naming `name`, and the line and column meant.

    most  values that are read
    """
    if path.stat().st_size > LARGEST * 4:
        raise DataError(f"{name}: {path.stat().st_size:,} bytes; at most {LARGEST * 4:,} are read")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _read(csv.reader(_lines(file, name), strict=True), name, label, most)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name}: not a CSV file in UTF-8 ({error})") from None
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from None


def _lines(file: IO[str], name: str) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise DataError(f"{name}: line {number} is longer than {LONGEST_LINE:,} characters")
        yield line


def _read(lines: "Reader", name: str, label: str, most: int) -> Arrays:
    columns: list[str] = next(lines, [])
    if len(columns) > MOST_COLUMNS:
        raise DataError(f"{name}: {len(columns):,} columns; at most {MOST_COLUMNS:,} are read")
    if columns.count(label) != 1 or len(columns) < 2:
        raise DataError(
            f"data.label: {label!r} must name one column of {name}, besides the features; the columns are "
            f"{_shown(columns) or '(none: the file is empty)'}"
        )
    target = columns.index(label)
    features, labels = array("d"), []
    known: dict[str, str] = {}  # one copy of each label
    for number, row in _rows(lines, name, len(columns)):
        label = _label(row.pop(target), name, number)
        labels.append(known.setdefault(label, label))
        features.extend(_number(each, name, number, at, columns, target) for at, each in enumerate(row))
        if len(features) > most:
            raise DataError(f"{name}: more than {most:,} values, the most that are read")
    if not labels:
        raise DataError(f"{name}: there is no line of data below the column names")
    return Arrays(np.frombuffer(features).reshape(len(labels), -1), np.array(labels))


def _rows(lines: "Reader", name: str, width: int) -> Iterator[tuple[int, list[str]]]:
    for row in lines:
        if row and len(row) != width:
            raise DataError(f"{name}: line {lines.line_num} has {len(row)} values, the first line {width}")
        if row:
            yield lines.line_num, row


def _label(text: str, name: str, line: int) -> str:
    label = text.strip()
    if not label:
        raise DataError(f"{name}: line {line} has no label")
    if len(label) > LONGEST_LABEL:
        raise DataError(
            f"{name}: line {line} has a label of {len(label):,} characters; at most {LONGEST_LABEL} are read"
        )
    return label


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
