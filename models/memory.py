"""What becomes of memory that a training frees: each of its steps asks for as much again.

By itself glibc returns large pieces to the system at once, or where two of them meet, and every step waits for new
pages: a convolution's took up to twice its time. Elsewhere (other C libraries) nothing is changed.
"""

import ctypes

import numpy as np
import torch
from torch import Tensor

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 2**28

_kept = False


def keep_memory(largest: int = _LARGEST) -> None:
    """From here on this process keeps what it frees, for itself.

    largest  bytes: pieces larger than that do return at once
    """
    global _kept
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_MMAP_THRESHOLD, largest)
        _kept = True


def release_memory() -> None:
    """Gives back to the system what is free at this moment."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def allocate(size: int) -> Tensor:
    """uint8 [size], uninitialised: where as much was freed before, and may still be in a cache.

    torch asks for memory that begins where a cache line does. glibc then needs a little more than it gives, and finds
    it elsewhere each time: in four places in turn, where one would do.
    """
    return torch.from_numpy(np.empty(size, np.uint8)) if _kept else torch.empty(size, dtype=torch.uint8)
