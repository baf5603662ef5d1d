"""Random expanders, the layers of X-Nets: each unit of the smaller side has D links. Prabhu et al. 2018, 1711.08757."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import MinLen
from torch import Tensor

from models.connections import Connections
from models.networks.shapes import LayerShape
from models.topologies.channels import replicated
from models.topologies.dictating import Dictating
from models.types import Count, setting
from models.untrained import Untrained


@setting
class Expander(Dictating):
    """Each output picks D distinct inputs where there are fewer outputs than inputs, else each input D outputs.

    A unit of the other side that nothing picked takes over a link of one picked more than once, so that none is
    isolated and the degrees stay D (the paper leaves that to chance). A convolution links channels; a link owns the
    whole kernel between two.

    degrees  D of each layer that is not kept dense, or one for all
    """

    kind: Literal["expander"] = "expander"
    degrees: Annotated[tuple[Count, ...], MinLen(1)] = (8,)

    def __post_init__(self) -> None:
        if not self.degrees or min(self.degrees) < 1:
            raise ValueError(f"Expander.degrees: {self.degrees} is not allowed; it must be one number >= 1 or more")

    def counts(self, layers: Sequence[LayerShape], data_dir: Path | None) -> tuple[int, ...]:
        del data_dir
        return tuple(
            degree * min(layer.weight[:2]) * math.prod(layer.weight[2:]) for layer, degree in self._degrees(layers)
        )

    def place(self, network: Untrained, generator: torch.Generator) -> list[Connections]:
        return [_connections(layer.weight, degree, generator) for layer, degree in self._degrees(network.layers)]

    def _degrees(self, layers: Sequence[LayerShape]) -> Iterator[tuple[LayerShape, int]]:
        degrees = self.degrees * len(layers) if len(self.degrees) == 1 else self.degrees
        if len(degrees) != len(layers):
            raise ValueError(
                f"degrees: {len(degrees)} numbers are not allowed; {len(layers)} layers are not kept dense "
                f"({', '.join(layer.name for layer in layers)})"
            )
        for layer, degree in zip(layers, degrees, strict=True):
            few, many = sorted(layer.weight[:2])
            if not math.ceil(many / few) <= degree <= many:
                raise ValueError(
                    f"degrees: {degree} is not allowed for {layer.name}; it must be between {math.ceil(many / few)}, "
                    f"which links all of {many} units to {few}, and {many}"
                )
            yield layer, degree


def _connections(shape: tuple[int, ...], degree: int, generator: torch.Generator) -> Connections:
    out, into, *kernel = shape
    few, many = sorted((out, into))
    picked = _without_isolated(_subsets(few, many, degree, generator), many, generator)
    picking = torch.arange(few)[:, None].expand_as(picked)
    rows, columns = (picking, picked) if out < into else (picked, picking)
    return replicated(shape, (rows * into + columns).flatten().sort().values, math.prod(kernel))


def _subsets(count: int, limit: int, size: int, generator: torch.Generator) -> Tensor:
    """int64 [count, size]: sets of distinct numbers below `limit`, each equally likely: Floyd's algorithm, row-wise."""
    sets = torch.full((count, size), -1)
    for place, last in enumerate(range(limit - size, limit)):
        drawn = torch.randint(last + 1, (count,), generator=generator)
        taken = (sets[:, :place] == drawn[:, None]).any(dim=1)
        sets[:, place] = torch.where(taken, last, drawn)
    return sets


def _without_isolated(picked: Tensor, many: int, generator: torch.Generator) -> Tensor:
    """Links that are not the only one of what they pick, chosen at random, go to what nobody picked."""
    flat = picked.flatten()
    isolated = (torch.bincount(flat, minlength=many) == 0).nonzero().flatten()
    order = torch.randperm(flat.numel(), generator=generator)
    # A stable sort of the shuffled links by what they pick: the first of each group stays, the others may go.
    grouped = order[flat[order].argsort(stable=True)]
    spare = torch.zeros_like(flat, dtype=torch.bool)
    spare[grouped[1:]] = flat[grouped[1:]] == flat[grouped[:-1]]
    moved = order[spare[order]][: isolated.numel()]
    flat = flat.clone()
    flat[moved] = isolated
    return flat.view_as(picked)
