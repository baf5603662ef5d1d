"""What a data set is at a glance: how many samples of what shape, which classes, what would surprise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Arrays, check_lengths, inputs, numbered, numbered_alike
from models.data.refusal import DataError

SHOWN = 20  # classes, constant features
LONGEST = 60  # characters of a label


def preview(name: str, arrays: Arrays) -> dict[str, Any]:
    """As JSON; every check that a training would make of the arrays themselves is made.

    samples   of the training part, or of all where there is no official test part
    test      samples of the official test part, or None
    shape     of one sample, (features,) or (channels, height, width)
    classes   how many; `labels` and `counts` are of the first 20 of them, `smallest` is the count of the rarest
    constant  how many features have one value in all samples; `constant_at` are the first 20, counted from 0

    Raises: DataError, with the place.
    """
    x, y = inputs(name, "x", arrays.x), arrays.y
    check_lengths(name, x, y)
    x_test, y_test = arrays.x_test, arrays.y_test
    if x_test is None or y_test is None:
        codes, classes = numbered(name, y)
    else:
        x_test = inputs(f"{name} (test part)", "x", x_test)
        check_lengths(f"{name} (test part)", x_test, y_test)
        codes, _, classes = numbered_alike(name, y, y_test)
        if x.shape[1:] != x_test.shape[1:]:
            raise DataError(f"{name}: training inputs have shape {x.shape[1:]}, test inputs {x_test.shape[1:]}")
    counts = np.bincount(codes, minlength=classes)
    lowest, highest = x.min(axis=0).ravel(), x.max(axis=0).ravel()
    constant = np.flatnonzero(lowest == highest)
    return {
        "samples": len(x),
        "test": None if x_test is None else len(x_test),
        "shape": list(x.shape[1:]),
        "dtype": str(arrays.x.dtype),
        "min": lowest.min().item(),
        "max": highest.max().item(),
        "classes": classes,
        "labels": _labels(y, codes, classes),
        "counts": counts[:SHOWN].tolist(),
        "smallest": int(counts.min()),
        "constant": len(constant),
        "constant_at": constant[:SHOWN].tolist(),
    }


def plain(text: str, longest: int) -> str:
    """One line that any database, terminal and JSON can take: control characters and lone surrogates replaced."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def _labels(y: NDArray[Any], codes: NDArray[np.int64], classes: int) -> list[str]:
    firsts = (y[int(np.argmax(codes == code))] for code in range(min(classes, SHOWN)))
    return [
        plain(each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each), LONGEST) for each in firsts
    ]
