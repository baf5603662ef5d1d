"""What a network's family tells before it is built: the shape of each prunable weight."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class LayerShape:
    """One prunable weight.

    name       `conv1`, `fc1`, ..., `output`
    weight     (out, in), or (out, in, kernel height, kernel width)
    positions  output positions that each connection serves: its multiply-adds (MACs) per sample
    """

    name: str
    weight: tuple[int, ...]
    positions: int = 1

    @property
    def total(self) -> int:
        return math.prod(self.weight)

    @property
    def outputs(self) -> int:
        return self.weight[0]


def recurrent_layers(name: str, gates: int, sizes: Sequence[int], steps: int) -> Iterator[LayerShape]:
    """Of gated layers one on the other: `lstm1.input`, `lstm1.recurrent`, `lstm2.input`, ...

    name   of a layer, without its number
    gates  of each unit
    sizes  the features that the first one reads, then the units of each
    steps  of a sequence: every connection serves each of them
    """
    for number, (below, own) in enumerate(pairwise(sizes), start=1):
        yield LayerShape(f"{name}{number}.input", (gates * own, below), positions=steps)
        yield LayerShape(f"{name}{number}.recurrent", (gates * own, own), positions=steps)


def refuse_branches(shapes: Sequence[tuple[int, ...]]) -> None:
    """For what takes layers as a chain: each with the units of the one before it as inputs, in order.

    shapes  of the weights; several inputs for each unit are a flattened map of it
    Raises: ValueError, naming the layer that does not take those units
    """
    for before, shape in pairwise(shapes):
        if shape[1] % before[0]:
            raise ValueError(f"a layer of shape {shape} does not take the {before[0]} units of the layer before it")


def scaled_width(width: int, factor: float) -> int:
    """`width` hidden units or channels times `factor`, rounded; a layer keeps at least one."""
    return max(1, round(width * factor))
