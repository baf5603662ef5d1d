"""NumPy's `.npz` archives, read without ever unpickling."""

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from models.data.arrays import LARGEST, Arrays
from models.data.refusal import DataError

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


def read(path: Path, name: str) -> Arrays:
    """`x_train, y_train, x_test, y_test`, or `x, y`. Raises: DataError, naming `name`."""
    with _opened(path, name) as archive:
        return _read(archive, name)


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
    present = set(_present(archive))
    for wanted in (("x_train", "y_train", "x_test", "y_test"), ("x", "y")):
        if present.issuperset(wanted):
            return Arrays(*(_array(archive, name, each) for each in wanted))
    raise DataError(
        f"{name}: holds {', '.join(sorted(present)) or 'no arrays'}; "
        "it must hold x_train, y_train, x_test, y_test, or x, y"
    )


def _array(archive: zipfile.ZipFile, name: str, array: str) -> NDArray[Any]:
    member = archive.getinfo(f"{array}.npy")
    with archive.open(member) as file:
        _check_header(file, f"{name}: {array}", member.file_size)
    with archive.open(member) as file:
        values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return values


def _check_header(file: IO[bytes], what: str, size: int) -> None:
    # before anything is allocated: numpy trusts the shape that a header claims
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError(f"{what} holds pickled objects, which are never loaded; save it as numbers or text")
    count = math.prod(shape)
    if count > LARGEST or size > LARGEST * 8:
        raise DataError(f"{what} has shape {shape}, {size:,} bytes; at most {LARGEST:,} values are read")
    if file.tell() + count * dtype.itemsize != size:
        raise DataError(f"{what} is damaged: its header says {shape} of {dtype}, its size is {size:,} bytes")
