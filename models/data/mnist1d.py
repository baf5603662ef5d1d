"""MNIST-1D: digits as one-dimensional waveforms, generated. Greydanus and Kobak 2020, arXiv 2011.14439."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from models.data.arrays import Arrays, data_set
from models.data.samples import DataSet, ValidationShare
from models.data.waveforms import generate
from models.types import Count, setting


@setting
class MNIST1D:
    """A reconstruction from the description (see `waveforms`); the last fifth of the samples is the official test part.

    seed: of the generation, apart from the job's, so that every job with the same seed sees the same data
    """

    kind: Literal["mnist1d"] = "mnist1d"
    samples: Annotated[int, Interval(ge=50, le=100_000)] = 5000
    seed: Annotated[int, Interval(ge=0)] = 42
    validation: ValidationShare = 0.2
    test: Annotated[float, Interval(gt=0, lt=1)] | None = None
    limit: Count | None = None

    def load(self, data_dir: Path | None, seed: int) -> DataSet:
        """Vectors of 40. Raises: DataError."""
        x, y = generate(self.samples, self.seed)
        train = self.samples * 4 // 5
        return data_set("mnist1d", Arrays(x[:train], y[:train], x[train:], y[train:]), self.test, self.limit, seed)
