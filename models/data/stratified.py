"""Stratified, seeded draws: every class keeps its share, and at least one sample."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.allocation import whole_counts
from models.data.refusal import DataError
from models.seeds import generator


def hold_out(y: Tensor, classes: int, share: float, seed: int, field: str) -> tuple[Tensor, Tensor]:
    """Positions kept and positions held out, each sorted: round(share * n) of the n labels `y` are held out.

    field  names the share in errors; it also gives the draw a stream of its own

    Raises: DataError, with the numbers, if either side would lack a class.
    """
    samples, held_out = len(y), round(share * len(y))
    counts = torch.bincount(y, minlength=classes).tolist()
    smallest = min(range(classes), key=counts.__getitem__)
    if counts[smallest] < 2:
        raise DataError(
            f"{field}: class {smallest} has {counts[smallest]} of the {samples} samples in {classes} classes; "
            "each class needs at least 2 to be on both sides of a split"
        )
    if not classes <= held_out <= samples - classes:
        raise DataError(
            f"{field}: {share} of {samples} samples in {classes} classes holds out {held_out} and keeps "
            f"{samples - held_out}; each side needs at least one sample of each class"
        )
    held_counts = whole_counts(
        [share * count for count in counts], [count - 1 for count in counts], held_out, [1] * classes
    )
    return _draw(y, held_counts, seed, field)


def subset(y: Tensor, classes: int, limit: int, seed: int) -> Tensor:
    """Sorted positions of `limit` samples. Raises: DataError, if there are fewer, or fewer are asked than classes."""
    counts = torch.bincount(y, minlength=classes).tolist()
    if not classes <= limit <= len(y):
        raise DataError(
            f"data.limit: {limit} is not allowed; it must be between {classes} (one sample of each class) "
            f"and {len(y)} (the samples of the training part)"
        )
    targets = [limit * count / len(y) for count in counts]
    return _draw(y, whole_counts(targets, counts, limit, [min(1, count) for count in counts]), seed, "data.limit")[1]


def _draw(y: Tensor, counts: Sequence[int], seed: int, stream: str) -> tuple[Tensor, Tensor]:
    """`counts[c]` positions of each class c, uniform without replacement: those left and those drawn, sorted."""
    order = generator(seed, stream)
    drawn = torch.zeros(len(y), dtype=torch.bool)
    for label, count in enumerate(counts):
        positions = torch.nonzero(y == label).flatten()
        drawn[positions[torch.randperm(len(positions), generator=order)[:count]]] = True
    return torch.nonzero(~drawn).flatten(), torch.nonzero(drawn).flatten()
