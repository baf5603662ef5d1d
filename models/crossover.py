"""Up to which density weights train faster compressed than masked: a property of the machine, measured on it."""

import json
import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Points = tuple[tuple[int, float], ...]
"""(weights, active and absent; the density up to which compressed is faster), sizes ascending"""


@dataclass(frozen=True)
class Crossover:
    """Measured points; between two sizes the density is interpolated, on a logarithmic scale of size.

    linear, conv2d  of one layer, trained by autograd
    perceptron      of a whole network that takes its steps in compiled code where all its layers are compressed
    """

    linear: Points
    conv2d: Points
    perceptron: Points

    def prefers_compressed(self, shape: Sequence[int], density: float) -> bool:
        """Whether a layer of this shape does."""
        points = self.linear if len(shape) == 2 else self.conv2d
        return density <= _at(points, math.prod(shape))

    def prefers_compressed_perceptron(self, active: int, total: int) -> bool:
        return active / total <= _at(self.perceptron, total)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Crossover":
        """Raises: ValueError for a file that is none of ours."""
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            return cls(
                **{kind: tuple((int(size), float(density)) for size, density in content[kind]) for kind in KINDS}
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a measured crossover ({error}); remove it, or measure again") from None


KINDS = ("linear", "conv2d", "perceptron")

BUILT_IN = Crossover(
    linear=((8_192, 0.0), (32_768, 0.52), (78_400, 0.64), (262_144, 0.76), (1_000_000, 0.80)),
    conv2d=((150, 1.0), (2_304, 0.61), (9_216, 0.63), (36_864, 0.73)),
    perceptron=((8_832, 1.0), (89_400, 1.0), (266_200, 1.0), (1_794_000, 0.8)),
)
"""Measured on one core of a server processor with 512-bit vectors and 2 MB of second-level cache."""

_in_use = BUILT_IN


def use(crossover: Crossover) -> None:
    """For the rest of this process."""
    global _in_use
    _in_use = crossover


def in_use() -> Crossover:
    return _in_use


def _at(points: Points, size: int) -> float:
    sizes = [each for each, _ in points]
    above = bisect(sizes, size)
    if above == 0:
        return points[0][1]
    if above == len(points):
        return points[-1][1]
    (low, first), (high, second) = points[above - 1], points[above]
    share = math.log(size / low) / math.log(high / low)
    return first + share * (second - first)
