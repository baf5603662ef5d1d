"""Dropout without a mask in memory: what happens to a unit follows from a seed and the unit's place alone."""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel

Array = np.ndarray[Any, Any]

# Numba widens what it computes from 32 bits. Casting each step back is what makes short, fast vectors of them.
_16, _15 = np.uint32(16), np.uint32(15)
_FIRST, _SECOND = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


@kernel
def drop(x: Array, samples_are_rows: bool, seed: int, p: float, y: Array) -> None:
    """Each number of x times 0 with probability p, else times 1 / (1 - p).

    x, y  [samples, units of one], or [units, samples]; they may be the same
    seed  int64, >= 0

    A sample and a unit each have a key, random by the seed; one more mixing of both decides.
    """
    rows, count = x.shape
    nothing, scale = x.dtype.type(0), x.dtype.type(1 / (1 - p))
    limit = np.uint32(min(round(p * 2**32), 2**32 - 1))
    keys = np.empty(count, np.uint32)
    for n in range(count):
        keys[n] = _key(n, not samples_are_rows, seed)
    for row in range(rows):
        key = _key(row, samples_are_rows, seed)
        for n in range(count):
            mixed = np.uint32(key + keys[n])
            mixed = np.uint32(np.uint32(mixed ^ np.uint32(mixed >> _16)) * _FIRST)
            mixed = np.uint32(np.uint32(mixed ^ np.uint32(mixed >> _15)) * _SECOND)
            y[row, n] = x[row, n] * (nothing if mixed < limit else scale)


@kernel
def _key(number: int, of_sample: bool, seed: int) -> np.uint32:
    """Samples and units count from opposite ends, so that no sample has the key of a unit."""
    low, high = _mix(np.uint32(seed)), _mix(np.uint32(seed >> 32))
    start = np.uint32(~number if of_sample else number)
    return _mix(np.uint32(_mix(np.uint32(start ^ low)) ^ high))


@kernel
def _mix(number: np.uint32) -> np.uint32:
    """lowbias32, Wellons 2018: each bit of the result depends on each bit of `number`."""
    number = np.uint32(np.uint32(number ^ np.uint32(number >> _16)) * _FIRST)
    number = np.uint32(np.uint32(number ^ np.uint32(number >> _15)) * _SECOND)
    return np.uint32(number ^ np.uint32(number >> _16))
