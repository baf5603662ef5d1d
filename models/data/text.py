"""A text of the data directory, in windows of characters, each with the characters that come one later."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.typing import NDArray

from models.data.paths import inside
from models.data.refusal import DataError
from models.data.samples import DataSet, Samples, ValidationShare
from models.types import Count, setting

LARGEST = 2**27  # bytes of a file: its codes take eight times as much memory, twice

Codes = NDArray[Any]


@setting
class Text:
    """name: of a file in UTF-8 inside the data directory; steps: characters of a window; limit: only the first so many
    characters of the file.

    Nothing is drawn: the share `test` at the end is the test part, the share `validation` of the rest, at its end, the
    validation part (90/5/5 % as it stands). The vocabulary is that of the training part.
    """

    kind: Literal["text"]
    name: str
    steps: Count = 35
    validation: ValidationShare = 0.0526
    test: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    limit: Count | None = None

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """Raises: DataError, naming the field or the file, and the reason."""
        del seed
        points = np.frombuffer(self._read(data_dir).encode("utf-32-le"), np.uint32)
        kept = len(points) - round(self.test * len(points))
        vocabulary = np.unique(points[:kept])
        if len(vocabulary) < 2:
            raise DataError(f"{self.name}: {len(points)} characters, not two different ones in the training part")
        unknown = np.flatnonzero(~np.isin(points[kept:], vocabulary))
        if len(unknown):
            place = kept + int(unknown[0])
            raise DataError(
                f"{self.name}: character {place + 1}, {chr(points[place])!r}, is in the test part and nowhere in the "
                f"training part, the first {kept} characters"
            )
        codes = np.searchsorted(vocabulary, points).astype(np.int64)
        train, test = self._windows(codes[:kept], "training"), self._windows(codes[kept:], "test")
        digest = hashlib.sha256(f"{self.steps}/{kept}/".encode() + vocabulary.tobytes() + codes.tobytes())
        return DataSet(self.name, train, test, len(vocabulary), digest.hexdigest())

    def _read(self, data_dir: Path | None) -> str:
        path = inside(data_dir, self.name)
        if not path.is_file():
            raise DataError(f"data.name: {self.name!r} is a folder; it must be a text file")
        if path.stat().st_size > LARGEST:
            raise DataError(f"{self.name}: {path.stat().st_size:,} bytes; at most {LARGEST:,} are read")
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                return file.read(-1 if self.limit is None else self.limit)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.name}: not a text in UTF-8 ({error})") from None
        except OSError as error:
            raise DataError(f"{self.name}: {error.strerror}") from None

    def _windows(self, codes: Codes, part: str) -> Samples:
        """Those that fit: what is left at the end, less than a window, is left out."""
        count = (len(codes) - 1) // self.steps
        if count < 1:
            raise DataError(
                f"data.steps: {self.steps} is not allowed; the {part} part has {len(codes)} characters, and a window "
                "needs one more than it has steps"
            )
        text = torch.from_numpy(codes)
        x, y = (text[begin : begin + count * self.steps].view(count, self.steps) for begin in (0, 1))
        return Samples(x, y)
