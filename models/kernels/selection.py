"""The weights nearest 0 of each sign, found by counting the leading bits of all: no sort."""

from typing import Any

import numpy as np

from models.kernels.compiled import kernel

Array = np.ndarray[Any, Any]

_STEP = 11  # bits told apart in one pass over the values: their counters stay in the nearest cache


@kernel
def nearest_zero(bits: Array, size: int, positive: int, negative: int, chosen: Array) -> None:
    """Chooses the so many positive and so many negative values nearest 0, and all that are 0.

    On ties the lower place goes first. NaN is never chosen where its sign has as many numbers as asked.

    bits    unsigned [n]  the values' own: without that of the sign, they ascend as the magnitude does
    size    bits of one value
    chosen  bool [n]      written
    """
    one = bits.dtype.type(1)
    top = bits.dtype.type(size - 1)
    magnitude = (one << top) - one
    counts = np.zeros((2, 1 << _STEP), np.int64)
    # Of each sign, what the values sought begin with: those below are chosen, of those at it the first `left`.
    begin = np.zeros(2, bits.dtype)
    left = np.array([positive, negative])
    for value in bits:
        left[0] += value == 0
        left[1] += value == one << top
    below = top
    while below > 0:
        step = min(below, bits.dtype.type(_STEP))
        before, below = below, below - step
        counts[:] = 0
        digits = (one << step) - one
        for value in bits:
            sign, key = value >> top, value & magnitude
            if key >> before == begin[sign]:  # for all in the first pass, for few after it
                counts[sign, (key >> below) & digits] += 1
        for sign in range(2):
            digit = 0
            while left[sign] > counts[sign, digit] and digit < digits:
                left[sign] -= counts[sign, digit]
                digit += 1
            begin[sign] = (begin[sign] << step) | bits.dtype.type(digit)
    for place in range(bits.size):
        sign, key = bits[place] >> top, bits[place] & magnitude
        chosen[place] = key < begin[sign]
        if key == begin[sign]:
            chosen[place] = left[sign] > 0
            left[sign] -= 1
