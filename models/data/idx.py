"""The idx format of MNIST: a big-endian header (magic, sizes), then one byte per value. Plain or gzip.

http://yann.lecun.com/exdb/mnist, "File formats for MNIST".
"""

import gzip
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import LARGEST, Arrays
from models.data.paths import inside
from models.data.refusal import DataError

IMAGES, LABELS = 3, 1  # dimensions
PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DENSEST = 1032  # deflate's best ratio of bytes written to bytes read


def read_folder(data_dir: Path, folder: str) -> Arrays:
    """The four files of a folder inside `data_dir`, each plain or `.gz`. Raises: DataError."""
    x, y, x_test, y_test = (_read_part(data_dir, folder, part) for part in PARTS)
    return Arrays(x, y, x_test, y_test)


def is_idx_folder(folder: Path) -> bool:
    return any(each.name.removesuffix(".gz") in PARTS for each in folder.iterdir())


def _read_part(data_dir: Path, folder: str, part: str) -> NDArray[np.uint8]:
    present = {each.name for each in inside(data_dir, folder).iterdir()}
    for file in (part, f"{part}.gz"):
        if file in present:
            return read(inside(data_dir, f"{folder}/{file}"), f"{folder}/{file}", IMAGES if "idx3" in part else LABELS)
    raise DataError(f"{folder}: {part}.gz is missing; a folder of idx files holds {', '.join(PARTS)}, plain or .gz")


def read_zip(path: Path, name: str, largest: int) -> Arrays:
    """The four files in one zip, each plain or `.gz`. Raises: DataError, also where they hold over `largest` bytes."""
    with zipfile.ZipFile(path) as archive:
        x, y, x_test, y_test = (_read_member(archive, name, part, largest) for part in PARTS)
    return Arrays(x, y, x_test, y_test)


def _read_member(archive: zipfile.ZipFile, name: str, part: str, largest: int) -> NDArray[np.uint8]:
    present = archive.namelist()
    for member in (part, f"{part}.gz"):
        if member in present:
            what, packed = f"{name}: {member}", archive.getinfo(member).file_size
            dimensions = IMAGES if "idx3" in part else LABELS
            try:
                with archive.open(member) as file:
                    if not member.endswith(".gz"):
                        return _values(file, what, dimensions, packed, 1, largest)
                    with gzip.open(file) as unpacked:
                        return _values(cast(IO[bytes], unpacked), what, dimensions, packed, DENSEST, largest)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(f"{what}: the gzip data is damaged or truncated ({error})") from None
    raise DataError(f"{name}: {part}.gz is missing; a zip of idx files holds {', '.join(PARTS)}, plain or .gz")


def read(path: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array in a file of unsigned bytes with this many dimensions. Raises: DataError, naming `name`."""
    try:
        with _opened(path) as file:
            ratio = DENSEST if path.suffix == ".gz" else 1
            return _values(file, name, dimensions, path.stat().st_size, ratio, LARGEST)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{name}: the gzip data is damaged or truncated ({error})") from None
    except OSError as error:
        raise DataError(f"{name}: {error.strerror}") from None


def _values(file: IO[bytes], name: str, dimensions: int, packed: int, ratio: int, most: int) -> NDArray[np.uint8]:
    """packed: bytes of the file as it is stored, each of at most `ratio` bytes; most: bytes that are read"""
    sizes = _sizes(file, name, dimensions)
    count = math.prod(sizes)
    if count > packed * ratio:
        raise DataError(f"{name}: its header says {sizes}, more than a file of {packed:,} bytes can hold")
    if count > most:
        raise DataError(f"{name}: its header says {sizes}, {count:,} values; at most {most:,} are read")
    values = file.read(count + 1)  # one more: what follows must be the end
    if len(values) < count:
        raise DataError(f"{name}: truncated; its header says {count:,} values, it holds {len(values):,}")
    if len(values) > count:
        raise DataError(f"{name}: its header says {sizes}, but more bytes follow")
    return np.frombuffer(values, np.uint8).reshape(sizes)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _sizes(file: IO[bytes], name: str, dimensions: int) -> tuple[Any, ...]:
    header = file.read(4 * (1 + dimensions))
    magic, expected = header[:4], bytes([0, 0, 8, dimensions])
    if magic != expected:
        raise DataError(
            f"{name}: its first bytes are {magic.hex(' ') or 'missing'}; an idx file of unsigned bytes in "
            f"{dimensions} dimensions starts with {expected.hex(' ')}"
        )
    if len(header) < 4 * (1 + dimensions):
        raise DataError(f"{name}: truncated in its header")
    return struct.unpack(f">{dimensions}I", header[4:])
