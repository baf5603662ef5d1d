"""What becomes of memory that a training frees: each of its steps asks for as much again.

By itself glibc may return what is freed to the system, by rules that depend on what was freed before, and every step
waits for new pages: a convolution's took up to a fifth longer. With other C libraries nothing is changed.
"""

import ctypes

import numpy as np
import torch
from torch import Tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_MOST = 2**31 - 1
_LARGEST = 2**28
_LARGEST_BEFORE = 2**25  # what glibc before 2.35 accepts

_kept = False


def keep_memory(largest: int = _LARGEST) -> None:
    """From here on this process keeps what it frees, for itself.

    largest  bytes: pieces larger than that do return at once
    """
    global _kept
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return
    # mallopt answers 0 where it does not accept a number. The other setting alone would make things worse.
    for size in (min(largest, _MOST), _LARGEST_BEFORE):
        if library.mallopt(_MMAP_THRESHOLD, size):
            library.mallopt(_TRIM_THRESHOLD, _MOST)
            _kept = True
            return


def release_memory() -> None:
    """Gives back to the system what is free at this moment."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def allocate(size: int) -> Tensor:
    """uint8 [size], uninitialised: where as much was freed before, and may still be in a cache.

    torch asks for memory that begins where a cache line does. glibc then needs a little more than it gives, and finds
    it elsewhere each time: in four places in turn, where one would do. (From 4 MiB on NumPy also asks for larger pages.
    That makes no difference here.)
    """
    return torch.from_numpy(np.empty(size, np.uint8)) if _kept else torch.empty(size, dtype=torch.uint8)
