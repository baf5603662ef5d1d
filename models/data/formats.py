"""What an uploaded file is, told by its first bytes and never by its name, and how it is read within bounds."""

import zipfile
from pathlib import Path
from typing import Literal

from models.data import idx, npz, table
from models.data.arrays import Arrays
from models.data.refusal import DataError

Format = Literal["npz", "csv", "idx"]
MOST_MEMBERS = 100  # of an archive
FLOAT32 = 4  # bytes: a training takes every value as one
ALLOWED = "it must be a .npz, a .csv, or a .zip of the four idx files"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
ALIEN = {
    b"\x1f\x8b": "gzip data",
    b"\x93NUMPY": "a single .npy array (numpy.savez writes a .npz of several)",
    b"\x80": "a pickle, which is never loaded",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"%PDF": "a PDF",
}


def recognise(path: Path, name: str) -> Format:
    """Raises: DataError."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP):
        return _archive(path, name)
    for magic, what in ALIEN.items():
        if start.startswith(magic):
            raise DataError(f"{name}: {what}; {ALLOWED}")
    return "csv"


def read(path: Path, name: str, format_: Format, label: str, largest: int) -> Arrays:
    """The arrays of a file that `recognise` knows.

    label    the target column, of a table
    largest  bytes that the arrays may have, as they are stored and as they are trained on

    Raises: DataError, before memory is taken for more.
    """
    match format_:
        case "npz":
            _check_claims(path, name, largest)
            return npz.read(path, name)
        case "csv":
            return table.read(path, name, label, largest // 8)  # read as float64
        case "idx":
            return _read_idx(path, name, largest)


def _archive(path: Path, name: str) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except npz.DAMAGE as error:
        raise DataError(f"{name}: not a zip archive that can be read ({str(error)[:200]})") from None
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{name}: holds {len(members):,} files; at most {MOST_MEMBERS} are read")
    for member in members:
        if "/" in member or "\\" in member or member.startswith("."):
            raise DataError(f"{name}: holds the name {member[:100]!r}; names in it must be plain, without folders")
    if any(member.removesuffix(".gz") in idx.PARTS for member in members):
        return "idx"
    if any(member.endswith(".npy") for member in members):
        return "npz"
    raise DataError(f"{name}: a zip of {', '.join(sorted(members)[:10]) or 'nothing'}; {ALLOWED}")


def _check_claims(path: Path, name: str, largest: int) -> None:
    claimed = npz.claims(path, name).values()
    size = sum(each.size for each in claimed)
    trained = FLOAT32 * sum(each.values for each in claimed)
    if max(size, trained) > largest:
        shapes = ", ".join(f"{each.dtype} {list(each.shape)}" for each in claimed)
        raise DataError(f"{name}: claims {shapes}: {max(size, trained):,} bytes; at most {largest:,} are read")


def _read_idx(path: Path, name: str, largest: int) -> Arrays:
    try:
        return idx.read_zip(path, name, largest // FLOAT32)
    except DataError:
        raise
    except npz.DAMAGE as error:
        raise DataError(f"{name}: not a zip archive that can be read ({str(error)[:200]})") from None
