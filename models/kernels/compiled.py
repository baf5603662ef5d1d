"""How every kernel is compiled: on first use for each type of number, then kept in Numba's cache."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., object])

_HERE = Path(__file__).parent
_SOURCES = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_HERE.glob("*.py")))).hexdigest()[:16]


def kernel(function: Function) -> Function:
    """Sums may be reordered, but infinities and NaN stay what they are: a training that diverges must show it."""
    sums = {"reassoc", "contract", "arcp", "nsz"}
    with _cache_of_these_sources():
        return cast(Function, njit(cache=True, nogil=True, error_model="numpy", fastmath=sums)(function))


def cache_directory() -> Path:
    """Of what these sources were compiled to. Numba alone would keep a kernel until its own file changes, whatever
    becomes of the kernels that it calls."""
    base = config.CACHE_DIR or _HERE / "__pycache__"  # type: ignore[attr-defined]  # made from the environment
    return Path(base) / _SOURCES


@contextmanager
def _cache_of_these_sources() -> Iterator[None]:
    before = config.CACHE_DIR  # type: ignore[attr-defined]
    config.CACHE_DIR = str(cache_directory())  # type: ignore[attr-defined]
    try:
        yield
    finally:
        config.CACHE_DIR = before  # type: ignore[attr-defined]
