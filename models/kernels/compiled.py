"""How every kernel is compiled: on first use for each type of number, then kept in Numba's cache."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Sums may be reordered, but infinities and NaN stay what they are: a training that diverges must show it."""
    sums = {"reassoc", "contract", "arcp", "nsz"}
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy", fastmath=sums)(function))
