"""Data sets that users uploaded: files that a server keeps under the hash of their bytes."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from models.data import formats
from models.data.arrays import LARGEST, data_set
from models.data.refusal import DataError
from models.data.samples import DataSet, ValidationShare
from models.types import Count, setting

SHA256 = re.compile(r"[0-9a-f]{64}")
PIECE = 2**20  # bytes

_folder: ContextVar[Path | None] = ContextVar("_folder", default=None)


@setting
class Upload:
    """name, id: of the uploaded data set, one of them or both. The server adds what it found under them.

    sha256  of the file
    format  of the file: `npz`, `csv` or `idx`
    label   the target column, of a `csv`
    """

    kind: Literal["upload"]
    name: str | None = None
    id: str | None = None
    sha256: str | None = None
    format: formats.Format | None = None
    label: str | None = None
    validation: ValidationShare = 0.2
    test: Annotated[float, Interval(gt=0, lt=1)] | None = None
    limit: Count | None = None

    def __post_init__(self) -> None:
        if self.name is None and self.id is None:
            raise ValueError("an upload takes the name or the id of a data set that was uploaded")
        if self.sha256 is not None and not SHA256.fullmatch(self.sha256):
            raise ValueError(f"sha256: {self.sha256[:80]!r} is not allowed; it must be 64 hexadecimal digits")

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """Its hash is the file's, which with this setting and the seed decides all samples. Raises: DataError."""
        del data_dir  # nothing that users upload is looked for there
        name, folder = f"the data set {self.name or self.id!r}", _folder.get()
        if folder is None or self.sha256 is None or self.format is None:
            raise DataError(f"data.name: {self.name or self.id!r} is not known here; a server reads what it was given")
        path = folder / self.sha256
        if not path.is_file():
            raise DataError(f"{name} is not here any more (sha256 {self.sha256})")
        if (found := digest(path)) != self.sha256:
            raise DataError(f"{name} has changed: its sha256 was {self.sha256}, found is {found}")
        arrays = formats.read(path, name, self.format, self.label or "label", LARGEST * formats.FLOAT32)
        return replace(data_set(name, arrays, self.test, self.limit, seed), hash=self.sha256)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Uploaded data sets are meanwhile read from `folder`, files named by their hash; also by processes forked here."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def digest(path: Path) -> str:
    """sha256 of a file, without holding it in memory."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
