"""What a network's family tells before it is built: the shape of each prunable weight."""

import math
from dataclasses import dataclass


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


def scaled_width(width: int, factor: float) -> int:
    """`width` hidden units or channels times `factor`, rounded; a layer keeps at least one."""
    return max(1, round(width * factor))
