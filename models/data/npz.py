"""NumPy's `.npz` archives, read without ever unpickling."""

import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models.data.arrays import LARGEST, Arrays
from models.data.refusal import DataError

LONGEST_HEADER = 2**16  # bytes; numpy reads as many as a header claims before it judges them
LAYOUTS = (("x_train", "y_train", "x_test", "y_test"), ("x", "y"))
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # zipfile's, for an encrypted member; with NotImplementedError, for a compression it lacks
    # of numpy, for a header that is no Python literal
    ValueError,
    SyntaxError,
    tokenize.TokenError,
    MemoryError,
)


@dataclass(frozen=True)
class Claimed:
    """What the header of an array says that it holds."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """bytes"""
        return self.values * self.dtype.itemsize


def read(path: Path, name: str) -> Arrays:
    """`x_train, y_train, x_test, y_test`, or `x, y`. Raises: DataError, naming `name`."""
    with _opened(path, name) as archive:
        return _read(archive, name)


def claims(path: Path, name: str) -> dict[str, Claimed]:
    """Of the arrays that `read` would read, what their headers say; nothing else is read. Raises: DataError."""
    with _opened(path, name) as archive:
        return {each: _checked(archive, name, each) for each in _wanted(archive, name)}


def read_all(path: Path, name: str) -> dict[str, NDArray[Any]]:
    """Every array of the archive by its own name. Raises: DataError, naming `name`."""
    with _opened(path, name) as archive:
        return {each: _array(archive, name, each) for each in _present(archive)}


@contextmanager
def _opened(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{name}: not a .npz archive that can be read ({str(error)[:200]})") from None


def _present(archive: zipfile.ZipFile) -> list[str]:
    return [each.removesuffix(".npy") for each in archive.namelist() if each.endswith(".npy")]


def _read(archive: zipfile.ZipFile, name: str) -> Arrays:
    return Arrays(*(_array(archive, name, each) for each in _wanted(archive, name)))


def _wanted(archive: zipfile.ZipFile, name: str) -> tuple[str, ...]:
    present = set(_present(archive))
    for layout in LAYOUTS:
        if present.issuperset(layout):
            return layout
    raise DataError(
        f"{name}: holds {', '.join(sorted(present)[:20]) or 'no arrays'}; "
        "it must hold x_train, y_train, x_test, y_test, or x, y"
    )


def _array(archive: zipfile.ZipFile, name: str, array: str) -> NDArray[Any]:
    _checked(archive, name, array)
    with archive.open(f"{array}.npy") as file:
        values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return values


def _checked(archive: zipfile.ZipFile, name: str, array: str) -> Claimed:
    # before anything is allocated: numpy trusts the shape that a header claims
    what, size = f"{name}: {array}", archive.getinfo(f"{array}.npy").file_size
    with archive.open(f"{array}.npy") as packed:
        file: IO[bytes] = io.BytesIO(packed.read(LONGEST_HEADER))
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError(f"{what} holds pickled objects, which are never loaded; save it as numbers or text")
    claimed = Claimed(shape, dtype)
    if claimed.values > LARGEST or size > LARGEST * 8:
        raise DataError(f"{what} has shape {shape}, {size:,} bytes; at most {LARGEST:,} values are read")
    if file.tell() + claimed.size != size:
        raise DataError(f"{what} is damaged: its header says {shape} of {dtype}, its size is {size:,} bytes")
    return claimed
