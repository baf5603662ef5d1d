"""What a data set is once loaded: samples, and the splits that a training sees."""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from models.data.refusal import DataError as DataError
from models.data.standardisation import standardisation
from models.data.stratified import hold_out

ValidationShare = Annotated[float, Interval(gt=0, lt=1)]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs with their classes.

    x  [n, features] or [n, channels, height, width], float32; of a text its windows, int64 [n, steps], in their order
    y  [n], int64, each in 0..classes-1; of a text the characters that come one later, [n, steps]
    """

    x: Tensor
    y: Tensor

    @property
    def in_order(self) -> bool:
        """Whether they are windows that follow each other."""
        return self.y.dim() == 2

    def __len__(self) -> int:
        return len(self.y)

    def at(self, positions: Tensor) -> "Samples":
        """A copy of those at `positions`, int64 [m], in their order."""
        positions = positions.to(self.y.device)
        return Samples(self.x.index_select(0, positions), self.y.index_select(0, positions))  # faster than x[positions]

    def to(self, device: torch.device) -> "Samples":
        return Samples(self.x.to(device), self.y.to(device))


@dataclass(frozen=True, eq=False)
class DataSet:
    """Samples as loaded, not yet standardised; `test` is for the confirmation alone.

    hash  sha256 of the arrays it holds: equal content, equal hash
    """

    name: str
    train: Samples
    test: Samples
    classes: int
    hash: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(features,) or (channels, height, width)."""
        return tuple(self.train.x.shape[1:])


@dataclass(frozen=True, eq=False)
class Split:
    """What one training learns from and what it is measured on, both standardised by `train`'s statistics."""

    train: Samples
    held_out: Samples
    classes: int
    input_shape: tuple[int, ...]

    def to(self, device: torch.device) -> "Split":
        """The same samples there."""
        return Split(self.train.to(device), self.held_out.to(device), self.classes, self.input_shape)


def search_split(dataset: DataSet, validation: float, seed: int) -> Split:
    """The training part alone, of which the share `validation` is held out: stratified, seeded.

    Of a text it is the end.

    Raises: DataError, with the numbers, if either side would lack a class, or a text its windows.
    """
    if dataset.train.in_order:
        return _cut(dataset, validation)
    kept, held_out = hold_out(dataset.train.y, dataset.classes, validation, seed, "data.validation")
    return _standardised(dataset, dataset.train.at(kept), dataset.train.at(held_out))


def final_split(dataset: DataSet) -> Split:
    """The whole training part against the test part."""
    if dataset.train.in_order:
        return Split(dataset.train, dataset.test, dataset.classes, dataset.input_shape)
    return _standardised(dataset, dataset.train, dataset.test)


def _cut(dataset: DataSet, validation: float) -> Split:
    train, windows = dataset.train, len(dataset.train)
    kept = windows - round(validation * windows)
    if not 1 <= kept < windows:
        raise DataError(
            f"data.validation: {validation} of {windows} windows holds out {windows - kept} and keeps {kept}; "
            "each side needs at least one"
        )
    parts = Samples(train.x[:kept], train.y[:kept]), Samples(train.x[kept:], train.y[kept:])
    return Split(*parts, dataset.classes, dataset.input_shape)


def _standardised(dataset: DataSet, train: Samples, held_out: Samples) -> Split:
    shift, scale = standardisation(train.x)
    return Split(
        train=Samples((train.x - shift) / scale, train.y),
        held_out=Samples((held_out.x - shift) / scale, held_out.y),
        classes=dataset.classes,
        input_shape=dataset.input_shape,
    )
