"""From the arrays of a source to a data set: inputs checked, classes numbered, test part and limit applied."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.data.refusal import DataError
from models.data.samples import DataSet, Samples
from models.data.stratified import hold_out, subset

LARGEST = 2**29  # values of one input array: 2 GiB as float32
COLOURS = (1, 3, 4)  # grey, RGB, RGBA


@dataclass(frozen=True, eq=False)
class Arrays:
    """What a source holds: inputs of any numeric type, labels of any type, and the official test part, if it has one.

    x  [n, features]; images [n, height, width], [n, channels, height, width] or, when only the last
       axis has the size of a colour axis (1, 3 or 4), [n, height, width, channels]
    y  [n] whole numbers or text
    """

    x: NDArray[Any]
    y: NDArray[Any]
    x_test: NDArray[Any] | None = None
    y_test: NDArray[Any] | None = None


def data_set(name: str, arrays: Arrays, test: float | None, limit: int | None, seed: int) -> DataSet:
    """The data set of a source: its official test part, or a stratified one of the share `test` (.2 if None).

    name   of the source, in errors
    limit  samples of the training part, a stratified subset

    Raises: DataError.
    """
    x, y, x_test, y_test = inputs(name, "x", arrays.x), arrays.y, arrays.x_test, arrays.y_test
    check_lengths(name, x, y)
    if x_test is None or y_test is None:
        codes, classes = numbered(name, y)
        kept, held_out = hold_out(torch.from_numpy(codes), classes, 0.2 if test is None else test, seed, "data.test")
        x, codes, x_test, codes_test = x[kept], codes[kept], x[held_out], codes[held_out]
    else:
        if test is not None:
            raise DataError(f"data.test: {test} is not allowed; {name} has an official test part of {len(y_test)}")
        x_test = inputs(f"{name} (test part)", "x", x_test)
        check_lengths(f"{name} (test part)", x_test, y_test)
        codes, codes_test, classes = numbered_alike(name, y, y_test)
    if x.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{name}: training inputs have shape {x.shape[1:]}, test inputs {x_test.shape[1:]}")
    if limit is not None:
        chosen = subset(torch.from_numpy(codes), classes, limit, seed)
        x, codes = x[chosen], codes[chosen]
    return DataSet(name, _samples(x, codes), _samples(x_test, codes_test), classes, _hash(x, codes, x_test, codes_test))


def inputs(name: str, what: str, x: NDArray[Any]) -> NDArray[Any]:
    """As vectors [n, features] or images [n, channels, height, width], finite."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{name}: {what} has type {x.dtype}; it must be numeric")
    if x.size > LARGEST:
        raise DataError(f"{name}: {what} has {x.size:,} values; at most {LARGEST:,} are read")
    if x.ndim not in (2, 3, 4) or x.size == 0:
        raise DataError(
            f"{name}: {what} has shape {x.shape}; it must be [n, features], [n, height, width] or "
            "[n, channels, height, width], with no axis of 0"
        )
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        _check_finite(name, what, x)
    if x.ndim == 3:
        return x[:, np.newaxis]
    if x.ndim == 4 and x.shape[1] not in COLOURS and x.shape[3] in COLOURS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x


def _check_finite(name: str, what: str, x: NDArray[Any]) -> None:
    finite = np.isfinite(x)
    if not finite.all():
        row, *rest = (int(part) for part in np.argwhere(~finite)[0])
        raise DataError(
            f"{name}: {what} is not a finite number (float32) in row {row}, position {', '.join(map(str, rest))}"
        )


def check_lengths(name: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    if y.ndim != 1 or len(x) != len(y):
        raise DataError(f"{name}: {len(x)} inputs, but labels of shape {y.shape}; there must be one label per input")


def numbered(name: str, y: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Labels as 0..classes-1, in the order of the numbers, or of the alphabet."""
    values, codes = np.unique(comparable(name, y), return_inverse=True)
    if len(values) < 2:
        raise DataError(f"{name}: all {len(y)} labels are {values[0]!s}; there must be at least 2 classes")
    return codes.astype(np.int64), len(values)


def numbered_alike(
    name: str, y: NDArray[Any], y_test: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    codes, classes = numbered(name, np.concatenate([comparable(name, y), comparable(name, y_test)]))
    train, test = codes[: len(y)], codes[len(y) :]
    unseen = np.setdiff1d(test, train)
    if len(unseen):
        label = y_test[np.flatnonzero(test == unseen[0])[0]]
        raise DataError(f"{name}: class {label!s} is in the test part and not in the training part")
    return train, test, classes


def comparable(name: str, y: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers where all labels are (also those written as text or as floats), else text."""
    if y.dtype.kind in "OSU":
        text = np.array([each.decode() if isinstance(each, bytes) else str(each) for each in y])
        try:
            y = text.astype(np.float64)
        except ValueError:
            return text
    if y.dtype.kind not in "buif":
        raise DataError(f"{name}: labels have type {y.dtype}; they must be whole numbers or text")
    if y.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.isfinite(y) & (y == np.round(y)) & (np.abs(y) < 2**53)))
        if len(wrong):
            raise DataError(f"{name}: label {y[wrong[0]]!s} in row {wrong[0]} is not a whole number")
        return y.astype(np.int64)
    return y


def _samples(x: NDArray[Any], codes: NDArray[np.int64]) -> Samples:
    return Samples(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), torch.from_numpy(codes))


def _hash(*arrays: NDArray[Any]) -> str:
    """sha256 over type, shape and bytes of each."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
