"""Which connections a training has ever tried: the union of all its topologies.

Liu, Yin, Mocanu and Pechenizkiy, ICML 2021, arXiv 2102.02887: in-time over-parameterisation.
"""

from collections.abc import Sequence

import numpy as np

from models.connections import Connections
from models.rewired import Rewired


class Exploration:
    """Grows with every rewiring; its memory with what was explored alone."""

    def __init__(self, first: Sequence[Connections]) -> None:
        self._totals = [each.total for each in first]
        self._seen = [each.positions.numpy() for each in first]

    def add(self, rewired: Sequence[Rewired | None]) -> None:
        """One rewiring of the whole network: what it grew may be new."""
        for number, after in enumerate(rewired):
            if after is not None:
                self._seen[number] = np.union1d(self._seen[number], after.grown.numpy())

    @property
    def counts(self) -> tuple[int, ...]:
        """Connections of each layer that were ever active."""
        return tuple(len(seen) for seen in self._seen)

    @property
    def shares(self) -> tuple[float, ...]:
        """The same, of all connections that each layer could have."""
        return tuple(count / total for count, total in zip(self.counts, self._totals, strict=True))

    @property
    def share(self) -> float:
        """Of the whole network: R_s of the paper."""
        return sum(self.counts) / sum(self._totals)
