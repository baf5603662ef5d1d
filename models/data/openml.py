"""Data sets of OpenML by name or number, through scikit-learn."""

import re
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval

from models.data.arrays import LARGEST, Arrays, data_set
from models.data.refusal import DataError
from models.data.samples import DataSet, ValidationShare
from models.types import Count, setting

NAME = re.compile(r"\w[\w.,()+-]*", re.ASCII)  # scikit-learn makes both a URL and a file's path of it


@setting
class OpenML:
    """dataset: OpenML's number, or its name (the active version is taken); target: the column to predict.

    Read from the folder `openml` of the data directory, laid out as scikit-learn keeps it, where there is one; else
    from scikit-learn's own data home (`SCIKIT_LEARN_DATA`), where a first use downloads it to.
    """

    kind: Literal["openml"]
    dataset: int | str
    target: str | None = None
    validation: ValidationShare = 0.2
    test: Annotated[float, Interval(gt=0, lt=1)] | None = None
    limit: Count | None = None

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """Categorical features as their ordinals. Raises: DataError, naming the data set and the reason."""
        name = f"openml {self.dataset}"
        bunch = self._fetch(data_dir)
        if bunch.target is None or bunch.target.ndim != 1:
            raise DataError(f"data.target: {name} has {bunch.target_names} as target columns; name one of them")
        return data_set(name, Arrays(_dense(name, bunch.data), bunch.target), self.test, self.limit, seed)

    def _fetch(self, data_dir: Path | None) -> Any:
        by_name = isinstance(self.dataset, str)
        if by_name and not NAME.fullmatch(str(self.dataset)):
            raise DataError(f"data.dataset: {self.dataset!r} is not allowed; it must be a number or a plain name")
        from sklearn.datasets import fetch_openml  # here: importing it takes seconds, and few jobs need it

        try:
            return fetch_openml(
                name=self.dataset if by_name else None,
                data_id=None if by_name else self.dataset,
                target_column="default-target" if self.target is None else self.target,
                data_home=data_dir if data_dir is not None and (data_dir / "openml").is_dir() else None,
                as_frame=False,
                parser="liac-arff",
            )
        except (OSError, HTTPException, EOFError, ValueError, LookupError) as error:
            raise DataError(f"data.dataset: {self.dataset!r} of OpenML cannot be loaded ({error})") from None


def _dense(name: str, x: Any) -> np.ndarray[Any, Any]:
    if isinstance(x, np.ndarray):
        return x
    if x.shape[0] * x.shape[1] > LARGEST:
        raise DataError(f"{name}: {x.shape} values; at most {LARGEST:,} are read")
    return np.asarray(x.toarray())
