"""e to the power of a number, in a form that loops turn into vectors; the library's own is called number by number."""

import math

import numpy as np
from numba import types
from numba.extending import overload

# Cephes' expf: x = k ln 2 + r, |r| <= ln 2 / 2. ln 2 in two parts, of which the first is exact in few bits.
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_LOWEST, _HIGHEST = np.float32(-87.3), np.float32(88.3)
_1, _2, _3, _4, _5, _6 = (
    np.float32(c)
    for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)
_HALF, _ONE, _BIAS, _FRACTION = np.float32(0.5), np.float32(1), np.int32(127), np.int32(23)


def exponential(x: float) -> float:
    """For kernels. In single precision to 3e-7 relative, its results held within 1e-38 and 2e38."""
    return math.exp(x)


@overload(exponential)
def _exponential(x):  # type: ignore[no-untyped-def]  # Numba compares these arguments with the implementation's
    if x is not types.float32:
        return lambda x: np.exp(x)

    def single(x):  # type: ignore[no-untyped-def]
        bounded = x if x != x else min(max(x, _LOWEST), _HIGHEST)
        power = np.floor(bounded * _LOG2_E + _HALF)
        rest = bounded - power * _LN2_HIGH - power * _LN2_LOW
        series = ((((_1 * rest + _2) * rest + _3) * rest + _4) * rest + _5) * rest + _6
        # The power of two is written into a number's exponent.
        return (series * rest * rest + rest + _ONE) * np.int32((np.int32(power) + _BIAS) << _FRACTION).view(np.float32)

    return single
