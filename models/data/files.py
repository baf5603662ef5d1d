"""Data sets in files of the data directory: `.npz`, `.csv`, or a folder of MNIST-style idx files."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from models.data import idx, npz, table
from models.data.arrays import Arrays, data_set
from models.data.paths import inside
from models.data.refusal import DataError
from models.data.samples import DataSet, ValidationShare
from models.types import Count, setting

TABLE_KINDS = (".npz", ".csv")


@setting
class Files:
    """name: of a file or folder inside the data directory; label: the target column of a `.csv` ("label" if not given).

    A folder holds the four idx files of MNIST, plain or `.gz`, or exactly one `.npz` or `.csv`.
    """

    kind: Literal["files"]
    name: str
    label: str | None = None
    validation: ValidationShare = 0.2
    test: Annotated[float, Interval(gt=0, lt=1)] | None = None
    limit: Count | None = None

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """Raises: DataError, naming the file and the reason."""
        return data_set(self.name, self._read(data_dir, self.name), self.test, self.limit, seed)

    def _read(self, data_dir: Path | None, name: str) -> Arrays:
        path = inside(data_dir, name)
        assert data_dir is not None, "inside() refuses it"
        if path.is_dir() and not idx.is_idx_folder(path):
            name = f"{name}/{_only_file(path, name)}"
            path = inside(data_dir, name)
        if path.suffix != ".csv" and self.label is not None:
            raise DataError(f"data.label: {self.label!r} is not allowed; {name} is no .csv file")
        if path.is_dir():
            return idx.read_folder(data_dir, name)
        if path.suffix == ".npz":
            return npz.read(path, name)
        if path.suffix == ".csv":
            return table.read(path, name, "label" if self.label is None else self.label)
        raise DataError(f"data.name: {name!r} is not allowed; it must be a .npz, a .csv or a folder of idx files")


def _only_file(folder: Path, name: str) -> str:
    found = sorted(each.name for each in folder.iterdir() if each.suffix in TABLE_KINDS)
    if len(found) != 1:
        raise DataError(
            f"data.name: the folder {name!r} holds {', '.join(found) or 'no data file'}; it must hold the idx files "
            "of MNIST, or exactly one .npz or .csv"
        )
    return found[0]
