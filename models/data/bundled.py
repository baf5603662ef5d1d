"""The small real data sets that scikit-learn ships."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from models.data.arrays import Arrays, data_set
from models.data.refusal import DataError
from models.data.samples import DataSet, ValidationShare
from models.types import Count, setting

NAMES = ("digits", "breast_cancer", "wine", "iris")


@setting
class Bundled:
    kind: Literal["bundled"] = "bundled"
    name: Literal["digits", "breast_cancer", "wine", "iris"] = "digits"
    validation: ValidationShare = 0.2
    test: Annotated[float, Interval(gt=0, lt=1)] | None = None
    limit: Count | None = None

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """`digits` as images (1, 8, 8), the others as vectors. Raises: DataError."""
        if self.name not in NAMES:
            raise DataError(f"data.name: {self.name!r} is not allowed; it must be one of {', '.join(NAMES)}")
        return data_set(self.name, _arrays(self.name), self.test, self.limit, seed)


@cache  # a server reads them for every job that is submitted; all four are small
def _arrays(name: str) -> Arrays:
    from sklearn import datasets  # here: importing it takes longer than loading most data sets

    bunch = getattr(datasets, f"load_{name}")()
    return Arrays(bunch.images if name == "digits" else bunch.data, bunch.target)
